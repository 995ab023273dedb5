"""A power cut in the middle of a commit, on the real store: what of the last record is on the disk is up to chance.

Used by `test_torn_record`. The real SQLite file gets every commit that the simulated store gets. When the power goes,
a prefix of what the commit wrote to the log is there and the rest is as it was before; SQLite opens that, and what it
makes of it is what the simulated world goes on with.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from fairlead.store.base import Commit
from fairlead.store.memory import MemoryStore
from fairlead.store.sqlite import SqliteStore
from tests.simulation.sim import Sim
from tests.simulation.store import SimStore
from tests.simulation.world import Crash

KINDS = ("project", "service", "definition", "release", "operation", "request")


class TornStore(SimStore):
    """``lost`` and ``kept``: power cuts after which the last commit was never there, and was there."""

    def __init__(self, sim: Sim, folder: Path, rate: float) -> None:
        super().__init__(sim.faults, sim.world.injected)
        # This one dies inside commits by itself.
        sim.faults.rates.pop("crash-after-commit", None)
        self._say = sim.world.injected
        self._rate = rate
        self._chance = Random(f"{sim.world.seed}:torn")
        self._folder = folder
        self.lost = self.kept = 0
        self._disk = SqliteStore(self._new_path())

    def acquire(self, holder: str) -> int:
        epoch = super().acquire(holder)
        assert self._disk.acquire(holder) == epoch
        return epoch

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        if not self.armed or self._faults.healed or self._chance.random() >= self._rate:
            ids = super().commit(epoch, commit)
            assert self._disk.commit(epoch, commit) == ids
            return ids
        before = _everything(self._disk)
        self._cut_power(epoch, commit)
        after = _everything(self._disk)
        self._say("the power goes in the middle of a commit")
        if after == before:
            self.lost += 1
            raise Crash
        MemoryStore.commit(self, epoch, commit)
        assert after == _everything(self), "half a commit came back"
        self.kept += 1
        raise Crash

    def close(self) -> None:
        self._disk.close()

    def _cut_power(self, epoch: int, commit: Commit) -> None:
        """Carry ``commit`` out and leave only a part of what it wrote to the log."""
        path = self._disk.path
        log = path.with_name(path.name + "-wal")
        old, body = log.read_bytes(), path.read_bytes()
        self._disk.commit(epoch, commit)
        new = log.read_bytes()
        changed = [at for at in range(0, len(new), 64) if new[at : at + 64] != old[at : at + 64]]
        cut = self._chance.randint(changed[0], len(new)) if changed else len(new)
        if self._chance.random() < 0.2:
            cut = len(new)
        self._disk.close()
        torn = self._new_path()
        torn.write_bytes(body)
        torn.with_name(torn.name + "-wal").write_bytes(new[:cut] + old[cut:])
        self._disk = SqliteStore(torn)

    def _new_path(self) -> Path:
        return self._folder / f"state-{self.lost + self.kept}.db"


def _everything(store: SqliteStore | MemoryStore) -> tuple[Any, ...]:
    documents = [store.documents(kind) for kind in KINDS]
    return documents, store.open_intents(), store.events(last=True, limit=5)
