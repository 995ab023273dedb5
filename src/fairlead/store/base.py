"""The port for what must survive the controller: documents, the journal, events, and the lease.

Called by `controller` only, synchronously: one commit is one transaction. Documents are JSON mappings; their
shapes belong to the rooms that write them (`rollout`, `controller`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

Document = Mapping[str, Any]
"""A JSON mapping, as it is read."""

Written = Document | msgspec.Struct
"""What is stored as one: a struct is the mapping of its fields."""

Key = tuple[str, ...]
"""``(kind, project)`` or ``(kind, project, name)``: ``("project", "shop")``, ``("service", "shop", "api")``,
``("release", "shop", "0007")``."""


class IntentState(StrEnum):
    """A journalled command: decided; carried out; failed."""

    INTENDED = "intended"
    DONE = "done"
    FAILED = "failed"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One command, journalled before it is carried out, a mapping when read. ``id`` grows by one with each."""

    id: int
    project: str
    command: Written
    state: IntentState = IntentState.INTENDED
    at_s: float = 0.0
    error: str = ""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person may want to know. ``id`` 0: not stored yet. ``at_s``: seconds since the epoch."""

    project: str
    kind: str
    message: str
    at_s: float
    severity: Severity = Severity.INFO
    service: str | None = None
    replica_id: str | None = None
    release: int | None = None
    id: int = 0
    data: Mapping[str, Any] = {}


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction: documents written and deleted, intents journalled and settled, events appended.

    Intents come without an id (0) in the order decided; :meth:`Store.commit` answers with their ids.
    """

    put: Mapping[Key, Written] = {}
    delete: Sequence[Key] = ()
    intents: Sequence[Intent] = ()
    settled: Mapping[int, str] = {}
    """Intent id → error text, empty when it was carried out."""
    events: Sequence[Event] = ()


class Store(Protocol):
    """Durable state of one controller."""

    def acquire(self, holder: str) -> int:
        """Take the lease from whoever had it; the new epoch, one more than the last."""
        ...

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        """Write all of ``commit`` or nothing, and survive a crash right after returning. The intents' ids.

        :raises StoreConflictError: ``epoch`` is not the newest: another controller has the lease.
        :raises StoreFullError: no space left.
        """
        ...

    def documents(self, kind: str, project: str | None = None) -> Mapping[Key, Document]:
        """Every document of ``kind``, of one project or all, in order of their keys."""
        ...

    def open_intents(self, project: str | None = None) -> tuple[Intent, ...]:
        """Intents that were never settled, oldest first."""
        ...

    def events(
        self,
        project: str | None = None,
        *,
        after: int = 0,
        limit: int = 1000,
        last: bool = False,
    ) -> tuple[Event, ...]:
        """Events with an id above ``after``, oldest first; with ``last`` the newest ``limit`` of them."""
        ...

    def close(self) -> None: ...
