"""Releases that do not come through: taken back, superseded, paused, rolled back by an operator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.simulation.byhand import PROJECT, ByHand, api

from fairlead.errors import PortTakenError, StartFailedError
from fairlead.observed import Health, Observation, ReplicaHealth
from fairlead.rollout import commands
from fairlead.rollout.state import ProjectState, Rollout, ServiceState, Transaction, TransactionPhase
from fairlead.rollout.states import LIVE, InstancePhase, RolloutPhase
from fairlead.rollout.transaction import settle_release
from fairlead.rollout.view import view_of
from fairlead.rollout.wanted import converge
from fairlead.spec.model import Deploy, FailureAction, Port, RestartCondition, RestartPolicy, Service, UpdateConfig

from .releasing import bad_revision, revision, serving, state_of, worker


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


def test_old_and_new_replicas_are_not_both_started_in_the_last_place() -> None:
    """Going back to a revision of which one replica is still there leaves room for one less beside the old ones."""
    two = UpdateConfig(parallelism=2)
    world = serving(wide := replace(api(1), deploy=Deploy(replicas=4, update=two)))
    world.up(replace(wide, environment={"V": "2"}))
    world.look()
    world.look()
    begun = world.service()
    assert begun.rollout is not None
    assert begun.target is not None
    assert begun.rollout.admitted == 2
    old = [i for i in begun.instances if i.id in ("shop.api.1", "shop.api.3", "shop.api.4")]
    new = [
        msgspec.structs.replace(
            old[0], id=f"shop.api.{5 + n}", slot=slot, revision_id=begun.target.revision_id,
            generation=begun.target.generation,
        )
        for n, slot in enumerate((1, 4))
    ]  # fmt: skip
    state = msgspec.structs.replace(begun, instances=(*old, *new))
    definitions = world.core.book(PROJECT).definitions
    view = view_of((), {}, {}, Observation(project=PROJECT, replicas=(), health={}, routes={}), proxied=False)
    after = converge(state, view, definitions, world.now_s, releasing=True)
    assert sum(i.phase in LIVE for i in after.instances) == 4 + 2


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


def test_a_refusal_of_what_an_earlier_release_asked_for_is_not_laid_at_the_door_of_the_next() -> None:
    world = serving(api(1))
    world.up(replace(api(1), ports=(Port(target=8000, published=9999),)))
    world.look()
    world.up(api(2))
    world.look()
    assert world.carry_out(commands.ApplyRoutes, error=PortTakenError("port 9999 belongs to nginx")) == ["routes"]
    world.run(60)
    assert state_of(world, 3) == "succeeded"


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


def test_of_several_services_that_could_not_go_back_the_first_one_by_name_is_told() -> None:
    names = tuple("hgfedcba")
    services = {
        name: ServiceState(
            project=PROJECT,
            service=name,
            rollout=Rollout(
                release=2,
                phase=RolloutPhase.FAILED,
                origin=None,
                origin_replicas=0,
                started_at_s=0.0,
                progress_at_s=0.0,
                message="no such file",
            ),
        )
        for name in names
    }
    phase = TransactionPhase.ROLLING_BACK
    back = Transaction(release=2, kind="up", phase=phase, previous={}, changed=names, message="bad", started_at_s=0.0)
    project, _, (note,) = settle_release(ProjectState(name=PROJECT, engine="x", transaction=back), services, {}, 1.0)
    assert project.transaction is not None
    assert project.transaction.phase is TransactionPhase.FAILED
    assert note.message == "release 2: bad; a: no such file"


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": RolloutPhase.ROLLING_BACK, "origin": None, "origin_replicas": 2},
        {"phase": RolloutPhase.ROLLING_BACK, "origin": None, "origin_replicas": 0},
    ],
    ids=["back", "back-to-nothing-known"],
)
def test_a_way_back_keeps_as_many_as_are_wanted(changes: dict[str, Any]) -> None:
    """Two of either revision serve and three are wanted: one old replica may go, and no more."""
    world = serving(api(1, replicas=3))
    _, *old = world.service().instances
    world.up(api(2, replicas=3))
    begun = world.service()
    assert begun.rollout is not None
    assert begun.target is not None
    key = {"revision_id": begun.target.revision_id, "generation": begun.target.generation}
    new = [msgspec.structs.replace(old[0], id=f"shop.api.{slot + 3}", slot=slot, **key) for slot in (1, 2)]
    rollout = msgspec.structs.replace(begun.rollout, **({"admitted": 3, "released": 3} | changes))
    state = msgspec.structs.replace(begun, instances=(*old, *new), rollout=rollout)
    definitions = world.core.book(PROJECT).definitions
    view = view_of((), {}, {}, Observation(project=PROJECT, replicas=(), health={}, routes={}), proxied=False)
    after = converge(state, view, definitions, world.now_s, releasing=True)
    assert sum(i.phase is InstancePhase.READY for i in after.instances) >= 3


def test_what_still_serves_is_taken_back_though_a_successor_in_its_slot_has_begun_to_start() -> None:
    """The new replica died just as the old one was to leave, and the release is taken back after one was started."""
    world = serving(api(1, replicas=1))
    world.up(api(2, replicas=1))
    while world.phases().get("shop.api.1") != "draining":
        world.look()
        world.carry_out(commands.StartReplica)
        if "shop.api.1" in world.phases() and world.phases()["shop.api.1"] == "ready":
            world.carry_out(commands.ApplyRoutes)
        world.health |= dict.fromkeys(world.replicas, Health.READY)
    begun = world.service()
    world.core.rollback(PROJECT, None, world.now_s)
    state = world.service()
    assert begun.target is not None
    assert state.target is not None
    successor = next(i for i in begun.instances if i.id == "shop.api.2")
    starting = msgspec.structs.replace(
        successor, id="shop.api.3", phase=InstancePhase.STARTING, ready_at_s=None,
        revision_id=state.target.revision_id, generation=state.target.generation,
    )  # fmt: skip
    old = next(i for i in state.instances if i.id == "shop.api.1")
    crowded = msgspec.structs.replace(state, instances=(old, starting))
    routes = {key: msgspec.structs.replace(status) for key, status in world.routes.items()}
    observation = Observation(
        project=PROJECT,
        replicas=(world.replicas["shop.api.1"],),
        health={"shop.api.1": ReplicaHealth(health=Health.READY)},
        routes=routes,
    )
    view = view_of(tuple(routes), routes, {"shop.api.1": world.replicas["shop.api.1"]}, observation)
    after = converge(crowded, view, world.core.book(PROJECT).definitions, world.now_s, releasing=True)
    phases = {i.id: str(i.phase) for i in after.instances}
    assert phases == {"shop.api.1": "ready", "shop.api.3": "draining"}
