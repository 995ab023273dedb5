"""The drain contract step by step: out of the pool, confirmed; nothing in flight or the deadline; then the signal."""

from __future__ import annotations

from tests.simulation.byhand import PROJECT, ByHand, api

from fairlead.observed import Health
from fairlead.rollout import commands


def replacing(world: ByHand) -> None:
    """Version 1 serves, version 2 is ready and in the pool, version 1 is told to leave."""
    world.up(api(1))
    world.run(12)
    world.up(api(2))
    for _ in range(30):
        world.look()
        if "draining" in world.phases().values():
            break
        world.carry_out()
        world.health |= dict.fromkeys(world.replicas, Health.READY)
    assert world.phases()["shop.api.1"] == "draining"


def test_no_signal_before_the_proxy_has_confirmed() -> None:
    world = ByHand()
    replacing(world)
    world.orders = []
    for _ in range(20):
        world.look(1.0)
        assert not [key for key in world.asked() if key.startswith("stop")]


def test_no_signal_while_a_request_is_in_flight_until_its_deadline() -> None:
    world = ByHand()
    replacing(world)
    world.carry_out()
    world.open("shop.api.1", requests=1)
    began_s = world.now_s
    while "stop shop.api.1" not in world.asked():
        world.look(1.0)
        world.carry_out(commands.ApplyRoutes)
        world.open("shop.api.1", requests=1)
        assert world.now_s - began_s < 60
    assert world.now_s - began_s >= 30
    assert "shop.api.2" not in world.phases() or world.phases()["shop.api.2"] != "draining"


def test_a_stream_has_a_deadline_of_its_own_and_is_closed_in_stages_towards_it() -> None:
    world = ByHand()
    replacing(world)
    world.carry_out()
    world.open("shop.api.1", streams=6)
    began_s = world.now_s
    shares = []
    while "stop shop.api.1" not in world.asked():
        shares += [o.command.share for o in world.look(1.0) if isinstance(o.command, commands.ShedStreams)]
        world.carry_out(commands.ApplyRoutes)
        world.carry_out(commands.ShedStreams)
        world.open("shop.api.1", streams=6)
        assert world.now_s - began_s < 400
    assert world.now_s - began_s >= 300
    assert shares == [1 / 3, 1 / 2, 1.0]


def test_a_silent_router_confirms_nothing() -> None:
    world = ByHand()
    replacing(world)
    world.carry_out()
    for _ in range(20):
        world.look(1.0, routes_known=False)
        assert world.asked() == []


def test_a_replica_left_out_of_a_list_is_not_believed_ended_while_a_silent_router_may_have_its_requests() -> None:
    world = ByHand()
    replacing(world)
    world.carry_out()
    world.open("shop.api.1", requests=1)
    world.look(1.0)
    hidden = world.replicas.pop("shop.api.1")
    del world.health["shop.api.1"]
    world.look(0.1, routes_known=False)
    for _ in range(5):
        world.look(1.0, routes_known=False)
        assert world.phases()["shop.api.1"] == "draining"
    world.replicas["shop.api.1"] = hidden
    for _ in range(5):
        world.look(1.0)
        assert "stop shop.api.1" not in world.asked(), "its request is still open"


def test_a_replica_left_out_of_lists_may_end_once_the_router_says_that_nothing_is_open() -> None:
    world = ByHand()
    replacing(world)
    world.carry_out()
    world.look(0.01)
    del world.replicas["shop.api.1"], world.health["shop.api.1"]
    world.open("shop.api.1", requests=1)
    world.look(0.01)
    for _ in range(3):
        world.look(1.0, routes_known=False)
        assert world.phases()["shop.api.1"] == "draining"
    world.open("shop.api.1", requests=0)
    world.look(0.01)
    assert "stop shop.api.1" in world.asked()


def test_one_that_counted_as_gone_and_appears_again_on_the_way_down_finishes_its_requests() -> None:
    world = ByHand()
    world.up(api(1, 1))
    world.run(12)
    world.open("shop.api.1", requests=1)
    hidden = world.replicas.pop("shop.api.1"), world.health.pop("shop.api.1")
    for _ in range(3):
        world.look(0.6)
    assert world.phases()["shop.api.1"] == "failed"
    world.core.down(PROJECT, False, world.now_s)
    for _ in range(3):
        world.look(0.1)
        world.carry_out(commands.ApplyRoutes)
        assert world.routes, "as long as it is not removed its requests have to be counted"
    world.replicas["shop.api.1"], world.health["shop.api.1"] = hidden
    for _ in range(5):
        world.look(0.2)
        world.carry_out(commands.ApplyRoutes)
        world.open("shop.api.1", requests=1)
        assert "stop shop.api.1" not in world.asked()


def test_a_look_that_began_before_the_decision_confirms_nothing() -> None:
    world = ByHand()
    replacing(world)
    decided_s = world.now_s
    world.carry_out()
    for _ in range(5):
        world.look(1.0, taken_s=decided_s - 0.5)
        assert not [key for key in world.asked() if key.startswith("stop")]


def test_nobody_is_signalled_while_a_change_of_the_routes_is_under_way() -> None:
    """The change may be an older one that puts the replica back."""
    world = ByHand()
    world.up(api(1))
    for _ in range(4):
        world.look()
        world.carry_out()
    world.health |= {"shop.api.1": Health.READY, "shop.api.2": Health.READY}
    world.look()
    assert world.asked() == ["routes"]
    world.core.down("shop", False, world.now_s)
    for _ in range(10):
        world.look(1.0)
        assert world.asked() == ["routes"], "the proxy shows nobody in the pool, and is about to put both into it"
    world.carry_out()
    world.run(12)
    assert world.signalled == ["shop.api.1", "shop.api.2"]


def test_a_new_controller_trusts_the_proxy_only_after_telling_it_something() -> None:
    world = ByHand()
    replacing(world)
    world.carry_out()
    world.restart_controller()
    world.look(1.0)
    assert world.asked() == ["routes"]
    world.carry_out()
    world.look(1.0)
    world.look(1.0)
    assert "stop shop.api.1" in world.asked()


def test_a_proxy_that_looks_as_wanted_proves_nothing_while_it_still_owes_what_it_was_told_before() -> None:
    """It came back empty, said too early that it serves the replica, and now nothing is wanted: as if it had obeyed."""
    world = ByHand()
    world.up(api(1, 1))
    world.run(12)
    world.routes = {}
    world.look()
    (late,) = world.orders
    world.orders = []
    world.core.settle(PROJECT, late.intent, late.command, None, world.now_s)
    world.core.down(PROJECT, False, world.now_s)
    for _ in range(5):
        world.look(0.3)
        world.carry_out(commands.ApplyRoutes)
        assert "stop shop.api.1" not in world.asked()
    world.effect(late)
    world.look()
    assert "routes" in world.asked()
    for _ in range(3):
        world.carry_out(commands.ApplyRoutes)
        world.look()
    assert "stop shop.api.1" in world.asked()


def test_a_proxy_that_never_shows_what_it_said_is_told_again_after_a_while() -> None:
    world = ByHand()
    world.up(api(1, 1))
    world.run(12)
    world.routes = {}
    world.look()
    (lost,) = world.orders
    world.orders = []
    world.core.settle(PROJECT, lost.intent, lost.command, None, world.now_s)
    world.core.down(PROJECT, False, world.now_s)
    world.look()
    assert world.asked() == []
    for _ in range(5):
        wake_at_s = world.core.wake_at_s(PROJECT, world.now_s)
        assert wake_at_s is not None
        world.look(wake_at_s - world.now_s)
    assert world.asked() == ["routes"]


def test_a_request_that_ends_lets_its_replica_go_at_once() -> None:
    world = ByHand()
    replacing(world)
    world.carry_out()
    world.open("shop.api.1", requests=1)
    world.look(1.0)
    world.look(1.0)
    assert "stop shop.api.1" not in world.asked()
    world.open("shop.api.1", requests=0)
    world.look(0.01)
    assert "stop shop.api.1" in world.asked()


def test_a_replica_taken_back_before_it_was_ever_ready_drains_like_any_other() -> None:
    """Told to leave while it started, wanted again, in the pool, told to leave again: its requests count too."""
    world = ByHand()
    world.up(api(1))
    world.run(12)
    world.core.scale("shop", {"api": 3}, world.now_s)
    world.look()
    world.core.scale("shop", {"api": 2}, world.now_s)
    world.look(routes_known=False)
    assert world.phases()["shop.api.3"] == "draining"
    world.carry_out(commands.StartReplica)
    world.core.scale("shop", {"api": 3}, world.now_s)
    world.health["shop.api.3"] = Health.READY
    for _ in range(3):
        world.look()
        world.carry_out(commands.ApplyRoutes)
    assert "shop.api.3" in world.pool()
    world.core.scale("shop", {"api": 2}, world.now_s)
    world.look()
    world.carry_out(commands.ApplyRoutes)
    world.open("shop.api.3", requests=1)
    for _ in range(5):
        world.look()
        assert "stop shop.api.3" not in world.asked()


def test_a_drain_is_told_once_however_often_one_moment_is_looked_at() -> None:
    """The times of whoever drains begin again with a new controller, which is no second drain."""
    world = ByHand()
    replacing(world)
    world.look(0.0)
    world.restart_controller()
    world.look(0.0)
    told = [event.replica_id for event in world.store.events(PROJECT) if event.kind == "replica-draining"]
    assert sorted(map(str, told)) == ["shop.api.1", "shop.api.2"]
