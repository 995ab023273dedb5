"""A change of the pool, a reload and a killed replica, under real load: every answer is checked."""

from __future__ import annotations

import asyncio
import dataclasses

import aiohttp
from msgspec.structs import replace

from fairlead.routing import EndpointState
from tests.contract.routers.harness import DEADLINE_S, until
from tests.integration.haproxy.load import Load
from tests.integration.haproxy.world import World, replica_of, url

_EVERYTHING = ("keep-alive",) * 4 + ("new",) * 2 + ("post",) * 2 + ("slow",) * 3 + ("websocket",) * 4


async def test_a_pool_that_keeps_changing_loses_nothing(world: World) -> None:
    """Each round replaces one of three replicas: in, the old one drained and, once free, removed and stopped."""
    route = world.route()
    upstreams = [await world.upstream(f"shop.api.{number}") for number in range(1, 4)]
    await world.apply(route, [upstream.endpoint() for upstream in upstreams])
    before = await world.processes()
    async with Load(route).running(*_EVERYTHING) as load:
        for upstream in upstreams:
            await load.until(load.by_replica, upstream.replica_id, 1)
        for number in range(4, 14):
            new = await world.upstream(f"shop.api.{number}")
            leaving, *staying = upstreams
            upstreams = [*staying, new]
            ready = [upstream.endpoint() for upstream in upstreams]
            await world.apply(route, [*ready, leaving.endpoint(EndpointState.DRAIN)])
            await asyncio.sleep(0.3)  # the load's share of each state
            await load.until(load.by_replica, new.replica_id, 1)
            await world.apply(route, ready)
            await asyncio.sleep(0.1)
        await load.until(load.answers, "websocket", 11)
    assert load.failures == []
    assert set(load.by_replica) == {f"shop.api.{number}" for number in range(1, 14)}
    assert await world.processes() == dataclasses.replace(before, old=()), "a change of endpoints never reloads"


async def test_drained_replicas_can_be_stopped_once_free(world: World) -> None:
    """The drain contract: out, wait for nothing in flight, stop for real; also for requests that cannot be repeated."""
    route = world.route()
    upstreams = [await world.upstream("shop.api.1"), await world.upstream("shop.api.2")]
    await world.apply(route, [upstream.endpoint() for upstream in upstreams])
    async with Load(route).running("keep-alive", "keep-alive", "new", "post", "post", "slow", "slow") as load:
        for number in range(3, 7):
            leaving, staying = upstreams
            upstreams = [staying, await world.upstream(f"shop.api.{number}")]
            ready = [upstream.endpoint() for upstream in upstreams]
            await world.apply(route, [*ready, leaving.endpoint(EndpointState.DRAIN)])
            gone_id = leaving.replica_id

            async def free(gone_id: str = gone_id) -> bool:
                status = (await world.router.observe("shop"))[route.key]
                return all(e.in_flight == 0 for e in status.endpoints if e.replica_id == gone_id)

            await until(free)
            await leaving.stop()
            await world.apply(route, ready)
        await load.until(load.answers, "post", 11)
    assert load.failures == []


async def test_a_reload_for_another_route_cuts_nothing(world: World) -> None:
    route = world.route()
    upstreams = [await world.upstream("shop.api.1"), await world.upstream("shop.api.2")]
    stated = await world.apply(route, [upstream.endpoint() for upstream in upstreams])
    other = await world.upstream("blog.web.1")
    websockets = _EVERYTHING.count("websocket")

    async def streams() -> int:
        return sum(e.streams for e in (await world.router.observe("shop"))[stated.key].endpoints)

    async def all_are_open() -> bool:
        return await streams() == websockets

    async with Load(route).running(*_EVERYTHING) as load:
        await until(all_are_open)
        for _ in range(3):
            extra = replace(world.route("web", project="blog"), endpoints=(other.endpoint(),))
            await world.router.apply("blog", [extra])
            async with aiohttp.ClientSession() as session:
                assert await replica_of(session, extra) == "blog.web.1"
            await asyncio.sleep(0.3)
        await world.router.apply("blog", [])
        processes = await world.processes()
        assert processes.old, "the first worker still has websockets"
        assert await streams() == websockets, "streams of old workers count"
    assert load.failures == []


async def test_what_an_old_worker_has_open_keeps_a_drain_waiting(world: World) -> None:
    route = world.route()
    upstream, other = await world.upstream("shop.api.1"), await world.upstream("shop.api.2")
    stated = await world.apply(route, [upstream.endpoint()])
    await world.hang(stated, "shop.api.1", requests=2, streams=1)
    await world.router.apply("blog", [world.route("web", project="blog")])
    await world.apply(route, [upstream.endpoint(EndpointState.DRAIN), other.endpoint()])

    async def draining() -> tuple[int, int]:
        status = (await world.router.observe("shop"))[route.key]
        return next((e.in_flight, e.streams) for e in status.endpoints if e.replica_id == "shop.api.1")

    assert await draining() == (3, 1)
    await world.let_go("shop.api.1")

    async def free() -> bool:
        return await draining() == (0, 0)

    await until(free)


async def test_an_idle_client_of_an_old_worker_gets_the_new_pool(world: World) -> None:
    """A worker that was replaced cannot be told to drain, so it passes what still arrives on to its successor."""
    route = world.route()
    one, two = await world.upstream("shop.api.1"), await world.upstream("shop.api.2")
    stated = await world.apply(route, [one.endpoint()])
    async with aiohttp.ClientSession() as session, aiohttp.ClientSession() as poster:
        assert await replica_of(session, stated) == "shop.api.1"
        assert await replica_of(poster, stated) == "shop.api.1"
        await world.router.apply("blog", [world.route("web", project="blog")])
        await world.apply(route, [two.endpoint()])
        await one.stop()
        assert (await world.processes()).old, "the two idle connections keep the old worker"
        assert await replica_of(session, stated) == "shop.api.2"
        assert two.headers["x-forwarded-for"] == ["127.0.0.1"], "once, though it passed twice"
        async with poster.post(url(stated), data=b"x" * 50_000) as response:
            assert (response.status, (await response.json())["bytes"]) == (200, 50_000)


async def test_requests_that_wait_go_on_waiting_across_a_reload(world: World) -> None:
    route = replace(world.route(), hold_timeout_s=DEADLINE_S)
    await world.apply(route, [])
    async with aiohttp.ClientSession() as session:
        waiting = [asyncio.create_task(replica_of(session, route)) for _ in range(5)]
        await asyncio.wait(waiting, timeout=0.3)
        await world.router.apply("blog", [world.route("web", project="blog")])
        done, _ = await asyncio.wait(waiting, timeout=0.3)
        assert not done
        await world.apply(route, [(await world.upstream("shop.api.1")).endpoint()])
        assert await asyncio.gather(*waiting) == ["shop.api.1"] * 5


async def test_a_killed_replica_loses_no_idempotent_request(world: World) -> None:
    route = world.route()
    mortals = [await world.mortal(f"shop.api.{number}") for number in range(1, 4)]
    stated = await world.apply(route, [mortal.endpoint for mortal in mortals])
    async with Load(route).running(*("keep-alive",) * 4, *("new",) * 3, "slow", "slow") as load:
        await asyncio.sleep(0.3)
        for mortal in mortals[:2]:
            await mortal.kill()

            async def seen_failing(replica_id: str = mortal.replica_id) -> bool:
                endpoints = (await world.router.observe("shop"))[stated.key].endpoints
                return any(e.failing for e in endpoints if e.replica_id == replica_id)

            await until(seen_failing)
            await asyncio.sleep(0.5)  # nobody takes it out of the pool yet: retries alone must carry it
            await world.apply(route, [other.endpoint for other in mortals if other.process.returncode is None])
        await load.until(load.by_replica, "shop.api.3", 51)
    assert load.failures == []
