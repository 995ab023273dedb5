"""What is printed of a seed that failed: the same broken promise with fewer faults, as a person can read it."""

from __future__ import annotations

import re

import pytest

from fairlead.rollout.view import ServiceView
from tests.simulation.rehearsal import Rehearsal
from tests.simulation.shrink import shrink, told
from tests.simulation.sim import run_seed


def test_a_rehearsal_with_nothing_left_out_is_the_history_itself() -> None:
    for seed in (3, 33, 333):
        whole = Rehearsal(seed)
        first = run_seed(seed, traced=True, rehearsal=whole)
        rehearsal = Rehearsal(seed, whole.done, whole)
        again = run_seed(seed, traced=True, rehearsal=rehearsal)
        assert first.trace == run_seed(seed, traced=True).trace == again.trace
        assert rehearsal.done == whole.done


def test_a_broken_promise_is_told_with_fewer_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServiceView, "is_out", lambda self, replica_id: True)
    failed = next(result for result in map(run_seed, range(100)) if result.rule == "cut")
    small = shrink(failed, most_runs=12)
    assert small.result.rule == "cut"
    assert len(small.done) < small.before
    assert small.result.trace[-1].endswith(small.result.failure)

    first, second, *trace, last = told(failed, most_runs=1).splitlines()
    assert re.fullmatch(rf"seed {failed.seed} at commit \S+(, changed)?: cut: .+", first)
    assert re.fullmatch(r"smallest history found: \d+ of \d+ injections left after 1 tries", second)
    assert len(trace) > 10
    assert last.endswith(f"--trace {failed.seed}")
