"""Releases from end to end in a world where everything goes well: batches, single writers, operations, the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.simulation.byhand import PROJECT, api

from fairlead.errors import EngineUnavailableError, PortTakenError, RouterUnavailableError
from fairlead.observed import ExitCause, Health, ReplicaState
from fairlead.rollout import commands
from fairlead.spec.model import (
    Condition,
    Dependency,
    FailureAction,
    Order,
    Port,
    RolloutOptions,
    Service,
    ServiceOptions,
    UpdateConfig,
)

from .releasing import revision, serving, state_of, worker


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


def test_a_replica_that_a_list_leaves_out_is_not_counted_on_when_another_is_let_go() -> None:
    """Somebody removed it; the first list without it proves nothing, and the one that does serve has to stay."""
    update = UpdateConfig(parallelism=1)
    world = serving(api(1, 2, update=update))
    world.up(api(2, 2, update=update))
    world.look()
    world.carry_out()
    world.health["shop.api.3"] = Health.READY
    world.look()
    world.carry_out()
    assert world.pool() == {"shop.api.1", "shop.api.2", "shop.api.3"}
    del world.replicas["shop.api.2"], world.health["shop.api.2"]
    world.look()
    assert world.phases()["shop.api.1"] == "ready", "it and the new one are all that serve"
    world.look(1.0)
    assert world.phases()["shop.api.2"] == "failed"
    assert world.phases()["shop.api.1"] == "ready"


def test_a_replica_counts_as_gone_by_when_lists_were_taken_not_by_when_they_arrived() -> None:
    world = serving(api(1, 2))
    del world.replicas["shop.api.1"], world.health["shop.api.1"]
    world.look()
    world.look(1.5, taken_s=world.now_s + 0.1)
    assert world.phases()["shop.api.1"] == "ready", "two lists, a moment apart, and the second one was slow"
    wake_at_s = world.core.wake_at_s(PROJECT, world.now_s)
    assert wake_at_s is not None
    world.look(wake_at_s - world.now_s)
    assert world.phases()["shop.api.1"] == "failed"


def test_a_scale_in_counts_on_no_replica_that_a_list_leaves_out() -> None:
    world = serving(api(1, 3))
    world.core.scale(PROJECT, {"api": 2}, world.now_s)
    del world.replicas["shop.api.1"], world.health["shop.api.1"]
    world.look()
    assert world.phases()["shop.api.3"] == "ready", "it and the second one are all that serve"


def test_a_failure_that_ends_a_release_lets_no_replica_go_that_serves() -> None:
    """Only failures that the policy goes on with make fewer replicas enough."""
    update = UpdateConfig(parallelism=1, order=Order.STOP_FIRST)
    world = serving(api(1, 3, update=update))
    for lost in ("shop.api.1", "shop.api.4"):
        world.end(lost)
        world.look(0.01)
        world.carry_out()
    world.up(api(2, 3, update=update))
    world.look(0.01)
    world.carry_out()
    assert world.phases() == {"shop.api.2": "ready", "shop.api.3": "ready", "shop.api.5": "starting"}
    world.end("shop.api.5")
    world.look()
    assert world.core.book(PROJECT).releases[2].state == "rolling-back"
    assert world.phases()["shop.api.2"] == world.phases()["shop.api.3"] == "ready", "two of three serve, and no more"


@pytest.mark.parametrize("refused", [True, False])
def test_the_last_that_serves_stays_when_its_successor_is_lost_before_the_proxy_has_let_go(refused: bool) -> None:
    world = serving(api(1, 1))
    world.up(api(2, 1))
    world.look()
    world.carry_out()
    world.health["shop.api.2"] = Health.READY
    world.look()
    world.carry_out()
    world.look()
    assert world.phases() == {"shop.api.1": "draining", "shop.api.2": "ready"}
    if refused:
        world.carry_out(commands.ApplyRoutes, RouterUnavailableError("the proxy does not answer"))
    world.end("shop.api.2", cause=ExitCause.KILLED)
    world.look()
    assert world.phases()["shop.api.1"] == "ready"
    for _ in range(3):
        world.carry_out()
        world.look()
    assert world.pool() == {"shop.api.1"}
    world.run(20)
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


def test_a_number_goes_to_nothing_and_back() -> None:
    world = serving(api(1))
    world.core.scale(PROJECT, {"api": 0}, world.now_s)
    world.run(20)
    assert world.pool() == set()
    assert world.replicas == {}
    world.core.scale(PROJECT, {"api": 3}, world.now_s)
    world.run(20)
    assert len(world.pool()) == 3


def test_a_release_waits_for_the_place_of_a_replica_that_a_scale_in_let_go() -> None:
    """Stop-first: its streams may go on for longer than a release may be without progress."""
    options = ServiceOptions(rollout=RolloutOptions(progress_deadline_s=60.0))
    update = UpdateConfig(order=Order.STOP_FIRST)
    world = serving(replace(api(1, replicas=3, update=update), options=options))

    def pass_with_a_stream_open(looks: int, every_s: float) -> None:
        for _ in range(looks):
            world.open("shop.api.3", streams=1)
            world.health = dict.fromkeys(world.health, Health.READY)
            world.look(every_s)
            world.carry_out()

    world.core.scale(PROJECT, {"api": 0}, world.now_s)
    pass_with_a_stream_open(10, 0.2)
    assert set(world.replicas) == {"shop.api.3"}
    other_rules = UpdateConfig(order=Order.STOP_FIRST, parallelism=2)
    world.up(replace(api(1, replicas=2, update=other_rules), options=options))
    pass_with_a_stream_open(20, 5.0)
    assert len(world.pool()) == 1
    world.open("shop.api.3")
    world.run()
    assert (state_of(world, 2), len(world.pool())) == ("succeeded", 2)


def test_stop_first_finds_a_place_where_a_replica_beyond_the_number_has_the_last_one() -> None:
    """A release that failed and was paused has taken the first slots of the old revision, and fewer are wanted now."""
    update = UpdateConfig(parallelism=3, order=Order.STOP_FIRST, failure_action=FailureAction.PAUSE)
    world = serving(api(1, replicas=4, update=update))
    world.up(api(2, replicas=4, update=update))
    for _ in range(40):
        world.run(1, bad=frozenset({revision(world)}))
        for key, replica in list(world.replicas.items()):
            if replica.revision_id == revision(world) and replica.state is ReplicaState.RUNNING:
                world.end(key)
    assert state_of(world, 2) == "paused"
    assert world.pool() == {"shop.api.4"}
    world.up(api(1, replicas=1, update=update))
    for _ in range(200):
        world.run(1)
        assert sum(replica.state is ReplicaState.RUNNING for replica in world.replicas.values()) <= 1
    assert state_of(world, 3) == "succeeded"
    assert [instance.slot for instance in world.service().instances] == [1]


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


def test_a_port_of_somebody_else_does_not_keep_a_project_that_goes_down() -> None:
    """The release that asks for it is under way when the operator takes everything away; whoever depends on the service
    that wants it has to be drained all the same."""
    web = Service(
        name="web",
        command=("serve",),
        ports=(Port(target=8000, published=80),),
        depends_on={"api": Dependency(condition=Condition.HEALTHY)},
    )
    world = serving(api(1), web)
    world.up(replace(api(2), ports=(Port(target=8000, published=9999),)), web)
    world.look()
    world.core.down(PROJECT, False, world.now_s)
    for _ in range(60):
        asked = [order.command for order in world.orders if isinstance(order.command, commands.ApplyRoutes)]
        if any(route.listen.port == 9999 for command in asked for route in command.routes):
            world.carry_out(commands.ApplyRoutes, PortTakenError("port 9999 belongs to somebody else"))
        world.carry_out()
        world.look()
    assert world.core.book(PROJECT).gone
    assert (world.replicas, world.routes) == ({}, {})


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


def test_a_scale_in_lets_nobody_go_whom_a_silent_proxy_may_still_serve() -> None:
    """One of those that stay was lost: the others serve in its place until its successor does."""
    world = serving(api(1, replicas=4))
    world.end("shop.api.1", cause=ExitCause.KILLED)
    world.look()
    world.carry_out(commands.ApplyRoutes)
    world.core.scale(PROJECT, {"api": 2}, world.now_s)
    world.look()
    world.look(routes_known=False)
    ready = {key for key, phase in world.phases().items() if phase == "ready"}
    assert ready == {"shop.api.2", "shop.api.3"}
