"""The power may go in the middle of any commit: SQLite's own recovery decides, and every promise is kept."""

from __future__ import annotations

from pathlib import Path

from tests.simulation.sim import Sim
from tests.simulation.torn import TornStore


def test_every_promise_is_kept_when_the_last_record_is_torn(tmp_path: Path) -> None:
    lost = kept = 0
    for seed in range(41, 45):
        folder = tmp_path / str(seed)
        folder.mkdir()
        sim = Sim(seed)
        store = sim.store = TornStore(sim, folder, rate=0.08)
        try:
            sim.run()
        finally:
            store.close()
        lost, kept = lost + store.lost, kept + store.kept
    assert lost > 0, "no torn record was taken for one that never was"
    assert kept > 0, "no record that was whole after all came back"
