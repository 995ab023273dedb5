"""What is remembered of a look must never change what the next one comes to: every step of some histories, twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fairlead.rollout import release
from fairlead.rollout.glance import Glances
from fairlead.rollout.release import ProjectStep
from tests.simulation.sim import run_seed


@pytest.mark.parametrize("first", range(31_000, 31_020, 5))
def test_a_step_that_remembers_the_last_one_comes_to_the_same(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step_project, again, all_again = release.step_project, Glances.again, Glances.all_again
    remembered: Counter[str] = Counter()

    def of_service(self: Glances, *args: Any) -> Any:
        commands = again(self, *args)
        remembered["service"] += commands is not None
        return commands

    def of_project(self: Glances, *args: Any) -> Any:
        commands = all_again(self, *args)
        remembered["project"] += commands is not None
        return commands

    def twice(*args: Any, glances: Glances, **keywords: Any) -> ProjectStep:
        step = step_project(*args, glances=glances, **keywords)
        assert step == step_project(*args, **keywords)
        return step

    monkeypatch.setattr(Glances, "again", of_service)
    monkeypatch.setattr(Glances, "all_again", of_project)
    monkeypatch.setattr(release, "step_project", twice)
    assert [result.failure for result in map(run_seed, range(first, first + 5)) if result.failure] == []
    assert remembered["service"] > 50
    assert remembered["project"] > 100
