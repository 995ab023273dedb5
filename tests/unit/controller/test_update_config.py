"""What `update_config` and `rollback_config` are about, and what they are not about."""

from __future__ import annotations

from dataclasses import replace

from fairlead.controller.controls import OperationState
from fairlead.spec.model import Deploy, FailureAction, Service, UpdateConfig

from .world import World, service

ONE_BY_ONE = Deploy(replicas=4, update=UpdateConfig(parallelism=1, delay_s=10))


def revised(before: Service) -> Service:
    return replace(before, environment={"VERSION": "v2"})


def test_the_very_first_replicas_are_no_update() -> None:
    world = World()
    api = service("api", port=8080, deploy=ONE_BY_ONE)
    operation = world.up(api)
    assert world.ended(operation, most_s=3).state is OperationState.SUCCEEDED
    world.up(revised(api))
    world.for_s(3)
    assert [start.slot for start in world.started] == [1, 2, 3, 4, 1], "one by one from now on"


def test_a_rollback_follows_its_own_rules() -> None:
    world = World()
    deploy = replace(ONE_BY_ONE, rollback=UpdateConfig(parallelism=2, delay_s=5))
    api = service("api", port=8080, deploy=deploy)
    world.ended(world.up(api))
    world.up(revised(api))
    world.for_s(25)
    assert len(world.started) == 4 + 3
    world.core.rollback("shop", None, world.now_s)
    world.for_s(1)
    assert len(world.started) == 4 + 3 + 2
    world.for_s(6)
    assert len(world.started) == 4 + 3 + 3


def gone_back(rollback: UpdateConfig | None) -> World:
    """Release 2 has succeeded, and the operator asks for release 1 again."""
    world = World()
    update = UpdateConfig(parallelism=4, delay_s=0)
    api = service("api", port=8080, deploy=Deploy(replicas=4, update=update, rollback=rollback))
    world.ended(world.up(api))
    world.ended(world.up(revised(api)))
    world.started.clear()
    world.core.rollback("shop", 1, world.now_s)
    return world


def test_a_rollback_that_an_operator_asks_for_follows_rollback_config_too() -> None:
    world = gone_back(UpdateConfig(parallelism=1, delay_s=10))
    world.for_s(3)
    assert len(world.started) == 1
    world.for_s(11)
    assert len(world.started) == 2


def test_a_rollback_that_fails_goes_back_to_what_served_unless_the_file_says_otherwise() -> None:
    for failure_action, phase in ((None, "rolled-back"), (FailureAction.PAUSE, "paused")):
        world = gone_back(UpdateConfig(failure_action=failure_action))
        world.crashes = lambda start: True
        world.for_s(1)
        world.crashes = lambda start: False
        world.for_s(60)
        assert world.book.releases[3].state == phase


def test_a_release_that_went_on_until_nothing_serves_says_so() -> None:
    world = World()
    update = UpdateConfig(failure_action=FailureAction.CONTINUE)
    api = service("api", port=8080, deploy=Deploy(replicas=2, update=update))
    world.ended(world.up(api))
    world.crashes = lambda start: True
    assert world.ended(world.up(revised(api))).state is OperationState.FAILED
    assert "release 2 went on as its update_config says: no replica of api serves" in world.said()
    assert "release 2 serves" not in world.said()
    assert world.book.releases[2].message == "no replica of api serves"
