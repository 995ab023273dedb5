"""What an operator is told about a release that its file lets go on in spite of failures."""

from __future__ import annotations

from fairlead.controller.controls import OperationState
from fairlead.rollout.commands import StartReplica
from fairlead.spec.model import Deploy, FailureAction, RestartCondition, RestartPolicy, Service, UpdateConfig

from .world import World, service


def api(version: str, **update: object) -> Service:
    return service("api", version, 8080, deploy=Deploy(replicas=4, update=UpdateConfig(**update)))  # type: ignore[arg-type]


def slot_2_crashes(start: StartReplica) -> bool:
    return start.slot == 2


def test_a_release_serves_where_its_file_tolerates_the_failures() -> None:
    world = World()
    assert world.ended(world.up(api("v1"))).state is OperationState.SUCCEEDED
    world.crashes = slot_2_crashes
    done = world.ended(world.up(api("v2", max_failure_ratio=0.3)))
    assert (done.state, done.message) == (
        OperationState.SUCCEEDED,
        "release 2 serves; api: 1 of 4 replicas failed, which its update_config tolerates: exited with status 1",
    )


def test_what_tolerates_the_failures_of_a_rollback_is_its_own_policy() -> None:
    world = World()
    earlier = service("api", "v1", 8080, deploy=Deploy(replicas=4, rollback=UpdateConfig(max_failure_ratio=0.3)))
    world.ended(world.up(earlier))
    world.ended(world.up(api("v2")))
    world.crashes = slot_2_crashes
    done = world.ended(world.core.rollback("shop", None, world.now_s))
    assert done.message == (
        "release 3 serves; api: 1 of 4 replicas failed, which its rollback_config tolerates: exited with status 1"
    )


def test_a_release_of_which_nothing_serves_has_failed_whatever_is_tolerated() -> None:
    world = World(crashes=lambda start: True)
    done = world.ended(world.up(api("v1", failure_action=FailureAction.CONTINUE)))
    assert done.state is OperationState.FAILED


def test_failures_that_were_tolerated_do_not_take_the_release_back_later() -> None:
    world = World()
    world.ended(world.up(api("v1")))
    world.crashes = slot_2_crashes
    world.ended(world.up(api("v2", failure_action=FailureAction.CONTINUE)))
    world.for_s(40)
    assert world.book.project.serving == 2


def test_a_release_that_was_resumed_does_not_say_why_it_was_paused() -> None:
    world = World()
    world.ended(world.up(api("v1")))
    world.crashes = slot_2_crashes
    world.up(api("v2", failure_action=FailureAction.PAUSE))
    world.for_s(3)
    assert world.book.releases[2].state == "paused"
    assert world.book.releases[2].message == "api: 1 of 4 new replicas failed: exited with status 1"
    world.crashes = lambda start: False
    world.core.resume("shop", world.now_s)
    world.for_s(3)
    assert (world.book.releases[2].state, world.book.releases[2].message) == ("succeeded", "")


def held_s(world: World) -> float:
    (route,) = world.routes
    return route.hold_timeout_s


def test_requests_are_held_only_while_a_replica_can_be_expected() -> None:
    world = World()
    world.ended(world.up(api("v1")))
    assert held_s(world) > 0
    world.core.scale("shop", {"api": 0}, world.now_s)
    world.for_s(1)
    assert held_s(world) == 0, "nothing is asked for: an answer at once is kinder than one after half a minute"
    world.core.scale("shop", {"api": 2}, world.now_s)
    world.for_s(0.2)
    assert held_s(world) > 0, "before the first of them is ready"


def test_requests_are_not_held_for_a_service_that_was_given_up() -> None:
    world = World()
    gives_up = RestartPolicy(condition=RestartCondition.ON_FAILURE, max_attempts=2)
    one = service("api", "v1", 8080, deploy=Deploy(restart_policy=gives_up))
    world.ended(world.up(one))
    world.for_s(40)
    world.crashes = lambda start: True
    world.end("shop.api.1", 1)
    world.for_s(0.2)
    assert held_s(world) > 0, "another one comes"
    world.for_s(10)
    assert world.book.services["api"].restarts[1].exhausted
    assert held_s(world) == 0


def test_no_two_operations_share_an_id_however_many_are_asked_for_at_once() -> None:
    world = World()
    world.ended(world.up(api("v1")))
    asked = [world.core.scale("shop", {"api": 1 + number % 2}, world.now_s).id for number in range(50)]
    assert len(set(asked)) == 50
