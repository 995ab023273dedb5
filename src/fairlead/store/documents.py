"""How keys and documents are written down, and what is refused, the same for every store.

Called by `sqlite` and `memory`, so that what comes back from one never differs from the other: a document always
makes the way through JSON (tuples return as lists, nobody shares a mutable value with the store).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from fairlead.errors import StoreConflictError, StoreError
from fairlead.store.base import Key, Written

_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much history is kept: the newest ``events``, and settled intents among the newest ``intents``.

    Up to ``slack`` rows more may be there, since pruning waits until so many have been added.
    """

    events: int = 50_000
    intents: int = 10_000
    slack: int = 1_000


def columns(key: Key) -> tuple[str, str, str]:
    """``key`` as ``(kind, project, name)``; the name of a two-part key is empty.

    :raises ValueError: not a key, which is a mistake of the caller.
    """
    if len(key) not in (2, 3) or not all(key):
        raise ValueError(f"a key is (kind, project) or (kind, project, name), not {key!r}")
    return (key[0], key[1], key[2] if len(key) == 3 else "")


def key_of(kind: str, project: str, name: str) -> Key:
    """The key that :func:`columns` took apart."""
    return (kind, project, name) if name else (kind, project)


def encode(document: Written) -> str:
    return msgspec.json.encode(document).decode()


def decode(text: str) -> dict[str, Any]:
    return _decoder.decode(text)


def readable(text: str) -> str:
    """``text`` without what UTF-8 cannot hold (a command's output may bring lone surrogates)."""
    return text.encode("utf-8", "replace").decode()


def conflict(epoch: int, newest: int) -> StoreConflictError:
    """The error for a writer whose lease has gone to another."""
    return StoreConflictError(
        f"another controller took over (epoch {newest}, this one has {epoch})",
        hint="one controller runs per FAIRLEAD_HOME; this one must stop: see `fairlead controller status`",
    )


def unknown_intent(intent_id: int) -> StoreError:
    """The error for settling what was never journalled."""
    return StoreError(f"intent {intent_id} is not in the journal, so it cannot be settled")
