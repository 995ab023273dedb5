"""What is remembered of a look must never change what the next one comes to: every step of some histories, twice."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.rollout import release
from fairlead.rollout.glance import Glances
from fairlead.rollout.release import ProjectStep
from tests.simulation.sim import run_seed


@pytest.mark.parametrize("first", range(31_000, 31_020, 5))
def test_a_step_that_remembers_the_last_one_comes_to_the_same(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step_project, again = release.step_project, Glances.again
    remembered = 0

    def counting(self: Glances, *args: Any) -> Any:
        nonlocal remembered
        commands = again(self, *args)
        remembered += commands is not None
        return commands

    def twice(*args: Any, glances: Glances, **keywords: Any) -> ProjectStep:
        step = step_project(*args, glances=glances, **keywords)
        assert step == step_project(*args, **keywords)
        return step

    monkeypatch.setattr(Glances, "again", counting)
    monkeypatch.setattr(release, "step_project", twice)
    assert [result.failure for result in map(run_seed, range(first, first + 5)) if result.failure] == []
    assert remembered > 100
