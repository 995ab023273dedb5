"""Requests wait while a pool is empty, and are refused in words when nothing comes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp

from tests.contract.routers.harness import DEADLINE_S
from tests.integration.haproxy.world import World, replica_of, url


async def test_requests_wait_for_the_first_replica(world: World) -> None:
    route = replace(world.route(), hold_timeout_s=DEADLINE_S)
    old = await world.upstream("shop.db.1")
    await world.apply(route, [old.endpoint()])
    await world.apply(route, [])
    async with aiohttp.ClientSession() as session:

        async def post() -> int:
            async with session.post(url(route), data=b"x" * 5000) as response:
                assert response.status == 200
                return int((await response.json())["bytes"])

        gets = [asyncio.create_task(replica_of(session, route)) for _ in range(10)]
        posts = [asyncio.create_task(post()) for _ in range(10)]
        done, _ = await asyncio.wait([*gets, *posts], timeout=0.5)
        assert not done, "they wait"
        new = await world.upstream("shop.db.2")
        await world.apply(route, [new.endpoint()])
        assert await asyncio.gather(*gets) == ["shop.db.2"] * 10
        assert await asyncio.gather(*posts) == [5000] * 10


async def test_a_request_that_nobody_takes_is_refused_in_words(world: World) -> None:
    route = replace(world.route(), hold_timeout_s=0.2)
    await world.apply(route, [])
    async with aiohttp.ClientSession() as session, session.get(url(route)) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert await response.text() == "no replica of api is ready\n"


async def test_the_holding_time_changes_without_a_reload(world: World) -> None:
    route = replace(world.route(), hold_timeout_s=1000.0)
    await world.apply(route, [])
    before = await world.processes()
    await world.apply(replace(route, hold_timeout_s=0.0), [])
    async with aiohttp.ClientSession() as session, session.get(url(route)) as response:
        assert response.status == 503
    assert await world.processes() == before
