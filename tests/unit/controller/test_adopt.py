"""A project whose record was lost: what serves goes on serving, whatever was under way."""

from __future__ import annotations

from tests.simulation.byhand import PROJECT, ByHand, api

from fairlead.controller.book import Book
from fairlead.observed import Health, ReplicaSpec
from fairlead.rollout.commands import StopReplica
from fairlead.store.memory import MemoryStore


def lose_the_record(world: ByHand) -> None:
    """The controller comes back with an empty store and finds what runs."""
    book = world.core.book(PROJECT)
    specs = [recalled(book, replica.id) for replica in world.replicas.values()]
    world.store = MemoryStore()
    world.restart_controller()
    world.core.adopt(PROJECT, "memory", specs, world.routes, world.now_s)


def recalled(book: Book, replica_id: str) -> ReplicaSpec:
    """What the replica carries with it."""
    instance = next(i for state in book.services.values() for i in state.instances if i.id == replica_id)
    return ReplicaSpec(
        id=instance.id,
        project=PROJECT,
        revision=book.definitions[instance.revision_id].revision,
        slot=instance.slot,
        generation=instance.generation,
    )


def in_the_middle() -> ByHand:
    """Two old replicas serve, two new ones have begun to start."""
    world = ByHand()
    world.up(api(1))
    world.run()
    world.up(api(2))
    world.look()
    world.carry_out()
    assert sorted(world.replicas) == [f"{PROJECT}.api.{n}" for n in (1, 2, 3, 4)]
    return world


def test_who_serves_goes_on_where_a_release_was_under_way() -> None:
    world = in_the_middle()
    serving = world.pool()
    lose_the_record(world)
    for _ in range(5):
        world.look()
        world.carry_out()
        assert world.pool() >= serving
    assert not world.signalled
    assert "`fairlead up` completes it" in world.service().rollout.message  # type: ignore[union-attr]


def test_both_revisions_serve_until_somebody_says_what_to_run() -> None:
    world = in_the_middle()
    lose_the_record(world)
    world.run()
    assert len(world.pool()) == 4
    world.up(api(2))
    world.run()
    assert {i.revision_id for i in world.instances().values()} == {world.service().target.revision_id}  # type: ignore[union-attr]
    assert len(world.pool()) == 2


def test_at_rest_nothing_is_asked_for() -> None:
    world = ByHand()
    world.up(api(1))
    world.run()
    serving = world.pool()
    lose_the_record(world)
    world.run(5)
    assert (world.pool(), world.signalled, world.service().rollout) == (serving, [], None)
    assert not any(isinstance(order.command, StopReplica) for order in world.orders)


def test_who_has_left_the_pool_is_not_put_back_and_counts_for_nothing() -> None:
    """It may have been signalled already."""
    world = in_the_middle()
    world.health = dict.fromkeys(world.health, Health.READY)
    for _ in range(10):
        if world.pool() == {"shop.api.3", "shop.api.4"}:
            break
        world.look()
        world.carry_out()
    assert {"shop.api.1", "shop.api.2"} <= set(world.replicas)
    lose_the_record(world)
    for _ in range(20):
        world.look()
        world.carry_out()
        assert world.pool() == {"shop.api.3", "shop.api.4"}
    assert sorted(world.replicas) == ["shop.api.3", "shop.api.4"]
    assert world.service().rollout is None
