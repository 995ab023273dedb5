"""Releases from end to end in a world where everything goes well, but for what the test breaks."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from tests.simulation.byhand import PROJECT, ByHand, api

from fairlead.controller.controls import OperationKind
from fairlead.errors import EngineUnavailableError, PortTakenError, StartFailedError, StoreConflictError, StoreFullError
from fairlead.observed import ExitCause, Health, Observation
from fairlead.rollout import commands
from fairlead.rollout.state import TransactionPhase
from fairlead.rollout.states import LIVE, InstancePhase, RolloutPhase
from fairlead.rollout.view import view_of
from fairlead.rollout.wanted import converge
from fairlead.spec.model import (
    Condition,
    Dependency,
    Deploy,
    FailureAction,
    Order,
    Port,
    RestartCondition,
    RestartPolicy,
    Service,
    UpdateConfig,
)
from fairlead.store.base import Commit
from fairlead.store.memory import MemoryStore


def worker(version: int = 1, replicas: int = 1) -> Service:
    return Service(
        name="worker",
        command=("work",),
        environment={"V": str(version)},
        deploy=Deploy(replicas=replicas),
        depends_on={"api": Dependency(condition=Condition.HEALTHY)},
    )


def serving(*services: Service) -> ByHand:
    world = ByHand()
    world.up(*services)
    world.run(30)
    assert world.core.books[PROJECT].project.serving == 1
    return world


def revision(world: ByHand, name: str = "api") -> str:
    target = world.service(name).target
    assert target is not None
    return target.revision_id


def bad_revision(world: ByHand, *services: Service) -> frozenset[str]:
    """The release has begun; the revision of `api` in it."""
    world.up(*services)
    return frozenset({revision(world)})


def state_of(world: ByHand, number: int) -> str:
    return world.core.book(PROJECT).releases[number].state


def test_a_first_deployment_opens_the_port_and_fills_the_pool() -> None:
    world = serving(api(1, replicas=3))
    assert world.pool() == {"shop.api.1", "shop.api.2", "shop.api.3"}
    assert state_of(world, 1) == "succeeded"


def test_a_release_exchanges_every_replica_and_drains_before_it_signals() -> None:
    world = serving(api(1))
    world.up(api(2))
    world.run(30)
    assert world.signalled == ["shop.api.1", "shop.api.2"]
    assert world.pool() == {"shop.api.3", "shop.api.4"}
    assert set(world.replicas) == world.pool()


def test_a_release_that_never_gets_ready_is_taken_back_whole() -> None:
    world = serving(api(1), worker(1))
    before = (revision(world), revision(world, "worker"))
    bad = bad_revision(world, api(2), worker(2))
    world.run(400, bad=bad)
    assert (revision(world), revision(world, "worker")) == before
    assert world.pool() == {"shop.api.1", "shop.api.2"}
    assert state_of(world, 2) == "rolled-back"


def test_a_release_that_is_taken_back_takes_its_numbers_back() -> None:
    world = serving(api(1), worker(1, replicas=1))
    world.run(400, bad=bad_revision(world, api(2), worker(1, replicas=3)))
    target = world.service("worker").target
    assert target is not None
    assert target.replicas == 1


def test_a_number_set_during_a_release_survives_taking_it_back() -> None:
    world = serving(api(1))
    bad = bad_revision(world, api(2))
    world.run(2, bad=bad)
    world.core.scale(PROJECT, {"api": 3}, world.now_s)
    world.run(400, bad=bad)
    assert state_of(world, 2) == "rolled-back"
    assert len(world.pool()) == 3


def test_an_operator_takes_a_release_back_half_way() -> None:
    world = serving(api(1))
    before = revision(world)
    bad = bad_revision(world, api(2))
    world.run(5, bad=bad)
    operation = world.core.rollback(PROJECT, None, world.now_s)
    world.run(30)
    assert revision(world) == before
    assert world.core.operation(PROJECT, operation.id).state == "succeeded"


def test_a_rollback_of_a_rollback_brings_the_newer_one_back() -> None:
    world = serving(api(1))
    world.up(api(2))
    world.run(30)
    newer = revision(world)
    world.core.rollback(PROJECT, None, world.now_s)
    world.run(30)
    assert revision(world) != newer
    world.core.rollback(PROJECT, 2, world.now_s)
    world.run(30)
    assert revision(world) == newer
    assert state_of(world, 4) == "succeeded"


def test_a_release_supersedes_one_half_way_and_goes_back_to_what_was_whole() -> None:
    world = serving(api(1))
    whole = revision(world)
    middle = bad_revision(world, api(2))
    world.run(3, bad=middle)
    last = bad_revision(world, api(3))
    world.run(400, bad=middle | last)
    assert revision(world) == whole
    assert state_of(world, 2) == "superseded"
    assert state_of(world, 3) == "rolled-back"


def test_a_release_mends_one_that_had_more_replicas_and_turned_sick_half_way() -> None:
    """The sick ones take no room from those that are to follow them, or nothing ever would."""
    world = serving(api(1, 2))
    world.up(api(2, 5, update=UpdateConfig(monitor_s=60.0)))
    world.run(40)
    broken = world.service().target
    assert broken is not None
    world.health |= dict.fromkeys(world.replicas, Health.UNREADY)
    world.up(api(3, 3))
    world.run(120, bad=frozenset({broken.revision_id}))
    assert state_of(world, 3) == "succeeded"
    assert len(world.pool()) == 3


def test_a_release_that_failed_stays_failed_when_another_one_follows() -> None:
    world = serving(api(1))
    both = frozenset({revision(world)}) | bad_revision(world, api(2))
    world.run(3, bad=both)
    for key in ("shop.api.1", "shop.api.2"):
        world.end(key)
    world.run(900, bad=both)
    assert state_of(world, 2) == "failed"
    world.up(api(3))
    world.run(60)
    assert state_of(world, 2) == "failed"
    assert state_of(world, 3) == "succeeded"


def test_a_rollback_that_failed_starts_no_more_than_a_batch_beside_what_it_keeps() -> None:
    """Superseded releases may have left more behind than one release ever would."""
    two = UpdateConfig(parallelism=2)
    world = serving(wide := replace(api(1), deploy=Deploy(replicas=5, update=two, rollback=two)))
    world.up(replace(wide, environment={"V": "2"}))
    while "shop.api.9" not in world.replicas:
        world.run(1)
    world.end("shop.api.8")
    for _ in range(20):
        world.look()
        world.carry_out(commands.StartReplica, StartFailedError("no such file"))
        world.carry_out()
    failed = world.service()
    assert failed.rollout is not None
    assert failed.rollout.phase is RolloutPhase.FAILED
    kept = tuple(i for i in failed.instances if i.phase is InstancePhase.READY)
    new = next(i for i in kept if i.id == "shop.api.6")
    left = tuple(msgspec.structs.replace(new, id=f"shop.api.{number}", slot=number) for number in (90, 91))
    crowded = msgspec.structs.replace(failed, instances=(*kept, *left), restarts={})
    definitions = world.core.book(PROJECT).definitions
    view = view_of((), {}, {}, Observation(project=PROJECT, replicas=(), health={}, routes={}), proxied=False)
    after = converge(crowded, view, definitions, world.now_s)
    assert sum(i.phase in LIVE for i in after.instances) <= 5 + 2


def test_a_paused_release_goes_no_further_and_still_heals() -> None:
    world = serving(api(1))
    world.core.pause(PROJECT, world.now_s)
    world.up(api(2))
    world.core.pause(PROJECT, world.now_s)
    world.end("shop.api.1")
    world.run(10)
    assert all(instance.revision_id != revision(world) for instance in world.service().instances)
    assert len(world.pool()) == 2
    world.core.resume(PROJECT, world.now_s)
    world.run(30)
    assert all(instance.revision_id == revision(world) for instance in world.service().instances)


def test_time_spent_paused_counts_for_no_deadline() -> None:
    world = serving(api(1))
    world.up(api(2))
    world.look()
    world.core.pause(PROJECT, world.now_s)
    world.look(3_000.0)
    world.core.resume(PROJECT, world.now_s)
    world.run(30)
    assert state_of(world, 2) == "succeeded"


def test_a_policy_that_pauses_waits_for_a_person() -> None:
    pausing = UpdateConfig(failure_action=FailureAction.PAUSE)
    world = serving(api(1, update=pausing))
    bad = bad_revision(world, api(2, update=pausing))
    world.run(200, bad=bad)
    assert state_of(world, 2) == "paused"
    assert world.pool() == {"shop.api.1", "shop.api.2"}
    world.core.resume(PROJECT, world.now_s)
    world.run(60)
    assert state_of(world, 2) == "succeeded"


def test_batches_follow_each_other_and_never_take_more_than_one_old_replica_each() -> None:
    update = UpdateConfig(parallelism=1)
    world = serving(api(1, replicas=3, update=update))
    world.up(api(2, replicas=3, update=update))
    for _ in range(60):
        world.run(1)
        assert len(world.pool()) >= 3
        assert len(world.replicas) <= 5
    assert state_of(world, 2) == "succeeded"


def test_stop_first_keeps_all_but_one_batch() -> None:
    update = UpdateConfig(parallelism=1, order=Order.STOP_FIRST)
    world = serving(api(1, replicas=3, update=update))
    world.up(api(2, replicas=3, update=update))
    for _ in range(90):
        world.run(1)
        assert len(world.pool()) >= 2
        assert len(world.replicas) <= 3
    assert state_of(world, 2) == "succeeded"


def test_a_lost_replica_makes_no_batch_take_more_than_it_may() -> None:
    update = UpdateConfig(parallelism=1)
    world = serving(api(1, replicas=3, update=update))
    world.end("shop.api.1")
    world.up(api(2, replicas=3, update=update))
    floor = 0
    for _ in range(60):
        world.run(1)
        floor = max(floor, min(len(world.pool()), 3))
        assert len(world.pool()) >= floor
    assert state_of(world, 2) == "succeeded"


def test_a_single_writer_is_stopped_before_its_successor_starts() -> None:
    world = serving(api(1, replicas=1, writes=True))
    world.up(api(2, replicas=1, writes=True))
    for _ in range(40):
        world.run(1)
        running = [r for r in world.replicas.values() if r.state == "running"]
        assert len(running) <= 1
    assert state_of(world, 2) == "succeeded"


def test_a_single_writer_that_only_a_list_has_lost_gets_no_successor() -> None:
    world = serving(api(1, replicas=1, writes=True))
    hidden = world.replicas.pop("shop.api.1")
    world.health.clear()
    for _ in range(20):
        for order in world.look(0.5):
            assert not isinstance(order.command, commands.StartReplica)
        world.carry_out(commands.ApplyRoutes)
        world.carry_out(commands.RemoveReplica, error=EngineUnavailableError("it still runs"))
    world.replicas[hidden.id] = hidden
    world.run(20)
    assert world.signalled == ["shop.api.1"]
    assert len(world.pool()) == 1


def test_a_replica_that_somebody_killed_is_replaced_and_fails_no_gate() -> None:
    world = serving(api(1))
    world.up(api(2))
    world.run(2)
    new = next(key for key, instance in world.instances().items() if instance.revision_id == revision(world))
    world.end(new, code=-9, cause=ExitCause.KILLED)
    world.run(40)
    assert state_of(world, 2) == "succeeded"


def test_what_crashes_soon_after_a_release_is_taken_back() -> None:
    world = serving(api(1))
    before = revision(world)
    world.up(api(2))
    world.run(15)
    assert state_of(world, 2) == "succeeded"
    for _ in range(3):
        for key in sorted(world.pool()):
            world.end(key)
        world.run(12)
    world.run(40)
    assert revision(world) == before
    assert state_of(world, 2) == "rolled-back"


def test_a_replica_that_ends_well_is_no_success_where_a_port_is_published() -> None:
    service = api(1)
    policy = RestartPolicy(condition=RestartCondition.ON_FAILURE)
    world = ByHand()
    world.up(
        Service(
            name="api",
            command=service.command,
            ports=(Port(target=8000, published=8080),),
            deploy=Deploy(replicas=1, restart_policy=policy),
        )
    )
    world.look()
    world.carry_out()
    world.look()
    world.carry_out()
    world.end("shop.api.1", code=0)
    world.run(20, bad=frozenset({revision(world)}) if "api" in world.core.book(PROJECT).services else frozenset())
    assert world.core.book(PROJECT).gone or state_of(world, 1) != "succeeded"


def test_a_port_of_somebody_else_refuses_the_release_and_leaves_the_old_port_open() -> None:
    world = serving(api(1))
    taken = Service(
        name="api", command=("serve",), ports=(Port(target=8000, published=9999),), deploy=Deploy(replicas=2)
    )
    world.up(taken)
    for _ in range(40):
        world.look()
        for order in list(world.orders):
            if isinstance(order.command, commands.ApplyRoutes) and any(
                route.listen.port == 9999 for route in order.command.routes
            ):
                world.orders.remove(order)
                error = PortTakenError("port 9999 belongs to nginx")
                world.core.settle(PROJECT, order.intent, order.command, error, world.now_s)
        world.carry_out()
        world.health |= dict.fromkeys(world.replicas, Health.READY)
    assert state_of(world, 2) == "rolled-back"
    assert world.pool() == {"shop.api.1", "shop.api.2"}
    assert set(world.routes) == {"shop/api/8080"}


def test_a_port_of_somebody_else_refuses_a_release_of_no_replicas_too() -> None:
    """Released, it would ask for that port for ever, and no later release could have its own opened."""
    world = ByHand()
    world.up(api(1, replicas=0))
    for _ in range(3):
        world.look()
    world.carry_out(commands.ApplyRoutes, error=PortTakenError("port 8080 belongs to nginx"))
    world.look()
    transaction = world.core.book(PROJECT).project.transaction
    assert transaction is not None
    assert "nginx" in transaction.message
    assert transaction.phase in (TransactionPhase.ROLLING_BACK, TransactionPhase.ROLLED_BACK)


def test_a_command_that_cannot_work_is_not_tried_for_ever() -> None:
    world = serving(api(1))
    world.up(api(2))
    world.look()
    world.carry_out(commands.ApplyRoutes)
    world.carry_out(commands.StartReplica, error=StartFailedError("no such command"))
    world.run(60)
    assert state_of(world, 2) == "rolled-back"
    assert world.core.retry_at_s(PROJECT) is None


def test_a_number_goes_to_nothing_and_back() -> None:
    world = serving(api(1))
    world.core.scale(PROJECT, {"api": 0}, world.now_s)
    world.run(20)
    assert world.pool() == set()
    assert world.replicas == {}
    world.core.scale(PROJECT, {"api": 3}, world.now_s)
    world.run(20)
    assert len(world.pool()) == 3


def test_down_leaves_nothing_and_up_begins_a_new_life() -> None:
    world = serving(api(1), worker(1))
    world.up(api(2), worker(2))
    world.run(2)
    world.core.down(PROJECT, False, world.now_s)
    world.run(40)
    assert world.core.book(PROJECT).gone
    assert (world.replicas, world.routes) == ({}, {})
    assert world.store.open_intents() == ()
    world.up(api(3))
    world.run(30)
    assert list(world.core.book(PROJECT).releases) == [1]
    world.restart_controller()
    assert list(world.core.book(PROJECT).releases) == [1]


def test_a_request_of_a_new_project_survives_the_controller() -> None:
    world = ByHand()
    operation = world.core.open_operation(PROJECT, OperationKind.UP, world.now_s, request={"file": 1})
    world.restart_controller()
    assert world.core.book(PROJECT).requests == {operation.id: {"file": 1}}


class FullStore(MemoryStore):
    full = False

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        if self.full:
            raise StoreFullError("no space left")
        return super().commit(epoch, commit)


def test_a_full_disk_changes_nothing_and_hands_out_nothing() -> None:
    store = FullStore()
    world = ByHand(store)
    world.up(api(1))
    before = world.core.books[PROJECT]
    store.full = True
    with pytest.raises(StoreFullError):
        world.look()
    assert world.core.books[PROJECT] is before
    assert world.core.open_keys(PROJECT) == frozenset()
    store.full = False
    world.run(30)
    assert len(world.pool()) == 2


def test_a_controller_that_lost_the_lease_hands_out_nothing() -> None:
    world = ByHand()
    world.up(api(1))
    old = world.core
    world.restart_controller()
    with pytest.raises(StoreConflictError):
        old.scale(PROJECT, {"api": 9}, world.now_s)
    world.run(30)
    assert len(world.pool()) == 2


@pytest.mark.parametrize("jump_s", [-100_000.0, -5.0, 0.0, 5.0, 100_000.0])
@pytest.mark.parametrize("steps", range(0, 12, 2))
def test_a_controller_may_die_at_any_step_and_the_clock_may_jump(steps: int, jump_s: float) -> None:
    world = serving(api(1), worker(1))
    world.up(api(2), worker(2))
    for _ in range(steps):
        world.run(1)
    world.look()
    world.restart_controller(jump_s)
    world.run(60)
    assert state_of(world, 2) == "succeeded"
    assert len(world.pool()) == 2
    assert len(world.replicas) == 3
    assert world.store.open_intents() == ()


def test_an_operation_ends_when_its_replicas_serve_not_before() -> None:
    world = serving(api(1))
    operation = world.up(api(2))
    for _ in range(40):
        world.run(1)
        if world.core.operation(PROJECT, operation.id).state != "running":
            break
    assert world.core.operation(PROJECT, operation.id).state == "succeeded"
    assert world.pool() == {"shop.api.3", "shop.api.4"}


def test_an_operation_does_not_wait_for_the_end_of_what_was_signalled() -> None:
    world = serving(api(1))
    operation = world.up(api(2))
    everything = (commands.StartReplica, commands.ApplyRoutes)
    for _ in range(40):
        world.health = dict.fromkeys(world.replicas, Health.READY)
        world.look()
        for kind in everything:
            world.carry_out(kind)
        if "stopping" in world.phases().values():
            break
        assert world.core.operation(PROJECT, operation.id).state == "running"
    world.look()
    assert world.core.operation(PROJECT, operation.id).state == "succeeded"
    assert world.phases() == {
        "shop.api.1": "stopping",
        "shop.api.2": "stopping",
        "shop.api.3": "ready",
        "shop.api.4": "ready",
    }
    world.run(5)
    assert set(world.replicas) == set(world.phases()) == {"shop.api.3", "shop.api.4"}, "what was left has gone"


def test_a_single_writer_is_waited_for_though_it_was_signalled() -> None:
    world = serving(api(1, replicas=1, writes=True))
    operation = world.up(api(2, replicas=1, writes=True))
    for _ in range(20):
        world.health = dict.fromkeys(world.replicas, Health.READY)
        world.look()
        world.carry_out(commands.ApplyRoutes)
    assert world.phases() == {"shop.api.1": "stopping"}
    assert world.core.operation(PROJECT, operation.id).state == "running"
    world.run(20)
    assert world.phases() == {"shop.api.2": "ready"}
    assert world.core.operation(PROJECT, operation.id).state == "succeeded"


def test_the_core_says_when_it_wants_to_look_again() -> None:
    world = serving(api(1))
    world.run(3)
    assert world.core.wake_at_s(PROJECT, world.now_s) is None
    world.up(api(2))
    assert world.core.wake_at_s(PROJECT, world.now_s) == world.now_s
    world.look()
    world.carry_out()
    world.look()
    world.look()
    wake_at_s = world.core.wake_at_s(PROJECT, world.now_s)
    assert wake_at_s is not None
    assert 20 < wake_at_s - world.now_s < 31, "the start timeout of the new replicas"


def test_a_successor_from_before_the_release_that_never_gets_ready_is_not_laid_at_its_door() -> None:
    world = serving(api(1))
    world.end("shop.api.2", cause=ExitCause.KILLED)
    world.look()
    world.carry_out()
    world.look()
    world.carry_out()
    assert world.phases()["shop.api.3"] in ("creating", "starting")
    world.up(api(1, update=UpdateConfig(delay_s=1.0)))
    for _ in range(60):
        world.look(after_s=1.0)
        world.carry_out()
        for key in world.replicas.keys() - {"shop.api.3"}:
            world.health[key] = Health.READY
    assert state_of(world, 2) == "succeeded"
    assert world.pool() == {"shop.api.1", "shop.api.4"}
