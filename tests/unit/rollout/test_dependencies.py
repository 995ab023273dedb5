"""`depends_on: {required: false}`: who is waited for, and who is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.simulation.byhand import api

from fairlead.observed import Health
from fairlead.spec.model import Condition, Dependency, Service

from .releasing import revision, serving, state_of, worker


@pytest.mark.parametrize("required", [True, False])
def test_nobody_waits_for_a_sick_dependency_that_is_not_required(required: bool) -> None:
    def behind(version: int) -> Service:
        return replace(worker(version), depends_on={"api": Dependency(condition=Condition.HEALTHY, required=required)})

    world = serving(api(1, 1), behind(1))
    sick = frozenset({revision(world)})
    world.health["shop.api.1"] = Health.UNREADY
    world.up(api(1, 1), behind(2))
    world.run(30, bad=sick)
    assert state_of(world, 2) == ("running" if required else "succeeded")


def test_a_dependency_that_is_not_required_is_waited_for_while_it_is_on_its_way() -> None:
    optional = {"api": Dependency(condition=Condition.HEALTHY, required=False)}
    world = serving(api(1, 1), replace(worker(1), depends_on=optional))
    world.up(api(2, 1), replace(worker(2), depends_on=optional))
    world.run(10, bad=frozenset({revision(world)}))
    assert world.phases("worker") == {"shop.worker.1": "ready"}
    world.run(30)
    assert state_of(world, 2) == "succeeded"
