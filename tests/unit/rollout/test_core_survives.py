"""What the core keeps: across a full disk, a lost lease, a controller's death at any step and a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.simulation.byhand import PROJECT, ByHand, api

from fairlead.controller.controls import Operation, OperationKind
from fairlead.errors import StoreConflictError, StoreFullError
from fairlead.rollout.commands import StopReplica
from fairlead.store.base import Commit
from fairlead.store.memory import MemoryStore

from .releasing import serving, state_of, worker


def test_a_request_of_a_new_project_survives_the_controller() -> None:
    world = ByHand()
    operation = world.core.open_operation(PROJECT, OperationKind.UP, world.now_s, request={"file": 1})
    world.restart_controller()
    assert world.core.book(PROJECT).requests == {operation.id: {"file": 1}}


class CountingStore(MemoryStore):
    commits = 0

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        self.commits += 1
        return super().commit(epoch, commit)


COMMANDS: dict[str, Callable[[ByHand], Operation]] = {
    "deploy": lambda world: world.core.deploy(PROJECT, "api", None, {"V": "3"}, world.now_s),
    "rollback": lambda world: world.core.rollback(PROJECT, None, world.now_s),
    "restart": lambda world: world.core.restart(PROJECT, (), world.now_s),
    "scale": lambda world: world.core.scale(PROJECT, {"api": 3}, world.now_s),
    "down": lambda world: world.core.down(PROJECT, False, world.now_s),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_written_whole_or_not_at_all(command: str) -> None:
    """A controller that dies between two commits would leave an operation behind that nothing ever ends."""
    store = CountingStore()
    world = ByHand(store)
    for version in (1, 2):
        world.up(api(version))
        world.run(30)
    store.commits = 0
    operation = COMMANDS[command](world)
    assert store.commits == 1
    world.restart_controller()
    assert world.core.operation(PROJECT, operation.id).kind == operation.kind


def test_taking_a_release_back_is_written_whole_or_not_at_all() -> None:
    store = CountingStore()
    world = ByHand(store)
    world.up(api(1))
    world.run(30)
    world.up(api(2))
    world.look()
    store.commits = 0
    world.core.rollback(PROJECT, None, world.now_s)
    assert store.commits == 1


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


def test_what_a_full_disk_kept_from_the_journal_is_written_though_nothing_happens_any_more() -> None:
    store = FullStore()
    world = ByHand(store)
    world.up(api(1))
    world.run(30)
    world.core.down(PROJECT, False, world.now_s)
    while not (stops := [order for order in world.orders if isinstance(order.command, StopReplica)]):
        world.carry_out()
        world.look()
    for order in stops:
        world.orders.remove(order)
        world.effect(order)
    world.run(20)
    assert world.core.book(PROJECT).gone
    assert {intent.id for intent in store.open_intents()} == {order.intent for order in stops}
    store.full = True
    for order in stops:
        with pytest.raises(StoreFullError):
            world.core.settle(PROJECT, order.intent, order.command, None, world.now_s)
    store.full = False
    world.core.confirm_lease(world.now_s)
    assert store.open_intents() == ()


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
