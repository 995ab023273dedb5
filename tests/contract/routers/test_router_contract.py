"""The contract of :class:`fairlead.routers.base.Router`, against every adapter of ``harness.HARNESSES``."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from fairlead.errors import PortTakenError, RouterError
from fairlead.routers.base import Router, RouterEventKind
from fairlead.routing import EndpointState, Route
from fairlead.spec.model import RouteProtocol
from tests.contract.routers.harness import DEADLINE_S, RouterHarness, endpoints_of, until

READY, DRAIN = EndpointState.READY, EndpointState.DRAIN


async def test_nothing_runs_before_the_first_route(router: Router) -> None:
    assert await router.observe("shop") == {}
    assert await router.traffic("shop") == ()


async def test_an_applied_route_is_served_as_told(harness: RouterHarness, router: Router) -> None:
    one, two = await harness.endpoint("shop.api.1"), await harness.endpoint("shop.api.2", weight=5)
    route = replace(harness.route(), endpoints=(one, two))
    await router.apply("shop", [route])
    status = (await router.observe("shop"))[route.key]
    assert status.listening
    assert status.port == route.listen.port
    assert endpoints_of(status) == {"shop.api.1": (READY, 100), "shop.api.2": (READY, 5)}


async def test_a_route_without_endpoints_listens(harness: RouterHarness, router: Router) -> None:
    route = harness.route()
    await router.apply("shop", [route])
    status = (await router.observe("shop"))[route.key]
    assert (status.listening, status.endpoints) == (True, ())


async def test_the_pool_follows_every_change(harness: RouterHarness, router: Router) -> None:
    route = harness.route()
    one, two = await harness.endpoint("shop.api.1"), await harness.endpoint("shop.api.2")
    for endpoints in (
        (one,),
        (one, two),
        (replace(one, weight=50), replace(two, weight=200)),
        (replace(one, state=DRAIN), two),
        (one, replace(two, state=DRAIN)),
        (two,),
        (),
        (replace(one, state=DRAIN),),
        (one, two),
    ):
        await router.apply("shop", [replace(route, endpoints=endpoints)])
        status = (await router.observe("shop"))[route.key]
        assert endpoints_of(status) == {e.replica_id: (e.state, e.weight) for e in endpoints}


async def test_a_replica_that_comes_back_elsewhere_is_followed(harness: RouterHarness, router: Router) -> None:
    old, new = await harness.endpoint("shop.api.1"), await harness.endpoint("shop.api.9")
    route = harness.route()
    await router.apply("shop", [replace(route, endpoints=(old,))])
    moved = replace(route, endpoints=(replace(old, address=new.address),))
    await router.apply("shop", [moved])
    assert endpoints_of((await router.observe("shop"))[route.key]) == {"shop.api.1": (READY, 100)}
    await harness.requests(moved, 3)


async def test_applying_twice_changes_nothing(harness: RouterHarness, router: Router) -> None:
    route = replace(harness.route(), endpoints=(await harness.endpoint("shop.api.1"),))
    await router.apply("shop", [route])
    before = await router.observe("shop")
    await router.apply("shop", [route])
    assert await router.observe("shop") == before


async def test_projects_do_not_touch_each_other(harness: RouterHarness, router: Router) -> None:
    shop = replace(harness.route(), endpoints=(await harness.endpoint("shop.api.1"),))
    blog = replace(harness.route("web", project="blog"), endpoints=(await harness.endpoint("blog.web.1"),))
    await asyncio.gather(router.apply("shop", [shop]), router.apply("blog", [blog]))
    assert set(await router.observe("shop")) == {shop.key}
    assert set(await router.observe("blog")) == {blog.key}
    await router.apply("shop", [])
    assert await router.observe("shop") == {}
    assert (await router.observe("blog"))[blog.key].listening


async def test_routes_of_a_project_are_stated_whole(harness: RouterHarness, router: Router) -> None:
    first, second = harness.route("api"), harness.route("web")
    await router.apply("shop", [first, second])
    assert set(await router.observe("shop")) == {first.key, second.key}
    await router.apply("shop", [second])
    assert set(await router.observe("shop")) == {second.key}


async def test_what_is_open_is_counted_until_it_ends(harness: RouterHarness, router: Router) -> None:
    one, two = await harness.endpoint("shop.api.1"), await harness.endpoint("shop.api.2")
    route = replace(harness.route(), endpoints=(one,))
    await router.apply("shop", [route])
    await harness.hang(route, "shop.api.1", requests=3, streams=2)

    async def counted() -> tuple[int, int]:
        status = (await router.observe("shop"))[route.key]
        found = [(e.in_flight, e.streams) for e in status.endpoints if e.replica_id == "shop.api.1"]
        return found[0] if found else (0, 0)

    assert await counted() == (5, 2)
    await router.apply("shop", [replace(route, endpoints=(replace(one, state=DRAIN), two))])
    assert await counted() == (5, 2), "what is in flight outlives the drain"
    await harness.let_go("shop.api.1")

    async def free() -> bool:
        return await counted() == (0, 0)

    await until(free)


async def test_an_endpoint_that_left_while_busy_gets_nothing_new(harness: RouterHarness, router: Router) -> None:
    one, two = await harness.endpoint("shop.api.1"), await harness.endpoint("shop.api.2")
    route = replace(harness.route(), endpoints=(one,))
    await router.apply("shop", [route])
    await harness.hang(route, "shop.api.1", streams=1)
    await router.apply("shop", [replace(route, endpoints=(two,))])
    found = endpoints_of((await router.observe("shop"))[route.key])
    assert found == {"shop.api.1": (DRAIN, 100), "shop.api.2": (READY, 100)}
    await harness.let_go("shop.api.1")

    async def gone() -> bool:
        return set(endpoints_of((await router.observe("shop"))[route.key])) == {"shop.api.2"}

    await until(gone)


async def test_shedding_closes_the_share_that_was_asked_for(harness: RouterHarness, router: Router) -> None:
    one = await harness.endpoint("shop.api.1")
    route = replace(harness.route(), endpoints=(one,))
    await router.apply("shop", [route])
    await harness.hang(route, "shop.api.1", streams=4)
    await router.apply("shop", [replace(route, endpoints=(replace(one, state=DRAIN),))])

    async def open_now() -> int:
        return sum(e.in_flight for e in (await router.observe("shop"))[route.key].endpoints)

    async def two_are_left() -> bool:
        return await open_now() == 2

    async def none_is_left() -> bool:
        return await open_now() == 0

    assert await router.shed("shop", "shop.api.1", 0.0) == 0
    assert await router.shed("shop", "shop.api.1", 0.5) == 2
    await until(two_are_left)
    assert await router.shed("shop", "shop.api.1", 1.0) == 2
    await until(none_is_left)
    assert await router.shed("shop", "shop.api.1", 1.0) == 0


async def test_a_port_of_somebody_else_is_refused_and_nothing_changes(harness: RouterHarness, router: Router) -> None:
    kept = replace(harness.route(), endpoints=(await harness.endpoint("shop.api.1"),))
    await router.apply("shop", [kept])
    taken = harness.foreign_port()
    with pytest.raises(PortTakenError, match=f"port {taken} is taken by .*pid"):
        await router.apply("shop", [kept, harness.route("web", port=taken)])
    assert set(await router.observe("shop")) == {kept.key}
    await harness.requests(kept, 1)


@pytest.mark.parametrize("protocol", [RouteProtocol.HTTP, RouteProtocol.TCP])
async def test_two_routes_cannot_want_the_same(harness: RouterHarness, router: Router, protocol: RouteProtocol) -> None:
    first = harness.route("api")
    await router.apply("shop", [first])
    second = replace(harness.route("web", project="blog", port=first.listen.port), protocol=protocol)
    with pytest.raises(RouterError) as caught:
        await router.apply("blog", [second])
    assert second.key in caught.value.message
    assert set(await router.observe("shop")) == {first.key}
    assert set(await router.observe("blog")) == set()


async def test_a_port_of_the_routers_choice_stays(harness: RouterHarness, router: Router) -> None:
    route = replace(harness.route(port=0), endpoints=(await harness.endpoint("shop.api.1"),))
    await router.apply("shop", [route])
    port = (await router.observe("shop"))[route.key].port
    assert port > 0
    await router.apply("shop", [replace(route, endpoints=()), harness.route("web")])
    assert (await router.observe("shop"))[route.key].port == port


async def test_traffic_counts_by_endpoint(harness: RouterHarness, router: Router) -> None:
    one, two = await harness.endpoint("shop.api.1"), await harness.endpoint("shop.api.2")
    route = replace(harness.route(), endpoints=(one, two), balance="round_robin")
    await router.apply("shop", [route])
    await harness.requests(route, 10)

    async def all_counted() -> bool:
        return sum(sample.status.get("2xx", 0) for sample in await router.traffic("shop")) == 10

    await until(all_counted)
    samples = await router.traffic("shop")
    assert [(sample.route, sample.replica_id) for sample in samples] == [
        (route.key, "shop.api.1"),
        (route.key, "shop.api.2"),
    ]
    assert sum(sample.requests for sample in samples) == 10
    assert all(sample.requests for sample in samples)


async def test_a_new_controller_finds_everything(harness: RouterHarness, router: Router) -> None:
    route = replace(harness.route(), endpoints=(await harness.endpoint("shop.api.1"),))
    await router.apply("shop", [route])
    await router.close()
    successor = await harness.open()
    status = (await successor.observe("shop"))[route.key]
    assert status.listening
    assert endpoints_of(status) == {"shop.api.1": (READY, 100)}
    await successor.apply("shop", [route])
    await harness.requests(route, 1)


async def test_a_proxy_that_died_comes_back_the_same(harness: RouterHarness, router: Router) -> None:
    one, two = await harness.endpoint("shop.api.1", weight=7), await harness.endpoint("shop.api.2", DRAIN)
    route = replace(harness.route(), endpoints=(one, two))
    await router.apply("shop", [route])
    supervisor = asyncio.create_task(router.supervise())
    events = router.events()
    try:
        await harness.kill()
        async with asyncio.timeout(DEADLINE_S):
            told = [await anext(events), await anext(events)]
        assert "ended" in told[0].message
        assert "brought back" in told[1].message
        assert {event.kind for event in told} == {RouterEventKind.OUTAGE}
        status = (await router.observe("shop"))[route.key]
        assert status.listening
        assert endpoints_of(status) == {"shop.api.1": (READY, 7), "shop.api.2": (DRAIN, 100)}
        await harness.requests(route, 1)
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
        await events.aclose()  # type: ignore[attr-defined]


async def test_shutdown_stops_only_a_proxy_without_routes(harness: RouterHarness, router: Router) -> None:
    route: Route = replace(harness.route(), endpoints=(await harness.endpoint("shop.api.1"),))
    await router.apply("shop", [route])
    await router.shutdown()
    assert (await router.observe("shop"))[route.key].listening
    await router.apply("shop", [])
    await router.shutdown()
    assert await router.observe("shop") == {}
    await router.apply("shop", [route])
    assert (await router.observe("shop"))[route.key].listening
