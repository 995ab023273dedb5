"""What the core keeps: across a full disk, a lost lease, a controller's death at any step and a clock that jumps."""

from __future__ import annotations

import pytest
from tests.simulation.byhand import PROJECT, ByHand, api

from fairlead.controller.controls import OperationKind
from fairlead.errors import StoreConflictError, StoreFullError
from fairlead.store.base import Commit
from fairlead.store.memory import MemoryStore

from .releasing import serving, state_of, worker


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
