"""The store in memory, with a disk that fills up and a machine that dies around a commit.

What survives is what was committed: a torn last record is a commit that never was.
"""

from __future__ import annotations

from collections.abc import Callable

from fairlead.errors import StoreFullError
from fairlead.store.base import Commit
from fairlead.store.memory import MemoryStore
from tests.simulation.faults import Faults
from tests.simulation.world import Crash


class SimStore(MemoryStore):
    """``on_crash`` is told that the controller dies inside a commit."""

    def __init__(self, faults: Faults, injected: Callable[[str], None]) -> None:
        super().__init__()
        self._faults = faults
        self._injected = injected
        self.armed = False

    @property
    def newest_epoch(self) -> int:
        return self._epoch

    def is_open(self, intent: int) -> bool:
        """Whether ``intent`` is journalled and has no outcome yet."""
        return intent in self._open

    def was_started(self, project: str, replica_id: str) -> bool:
        """Whether the start of a replica was ever journalled, be it by a controller that died right then."""
        return any(
            intent.project == project
            and intent.command["type"] == "start-replica"
            and intent.command["replica_id"] == replica_id
            for intent in self._intents.values()
        )

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        if not self.armed or self._faults.healed:
            return super().commit(epoch, commit)
        if self._faults.hit("store-full"):
            self._injected("the disk is full")
            raise StoreFullError("no space left for the journal")
        if self._faults.hit("crash-before-commit"):
            self._injected("the controller dies before a commit")
            raise Crash
        ids = super().commit(epoch, commit)
        if self._faults.hit("crash-after-commit"):
            self._injected("the controller dies right after a commit")
            raise Crash
        return ids
