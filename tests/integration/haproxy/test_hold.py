"""Requests wait while a pool is empty, and are refused in words when nothing comes."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import aiohttp
from msgspec.structs import replace

from fairlead.rollout.definition import CONNECT_ALONE_S, CONNECT_TIMEOUT_S
from fairlead.routing import Address, Endpoint, EndpointState, Route
from tests.contract.engines.harness import eventually
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


async def test_who_waits_goes_on_waiting_when_the_pool_is_empty_again_at_once(world: World) -> None:
    """The next release took the only replica out right after it had come."""
    route = replace(world.route(), hold_timeout_s=DEADLINE_S)
    replica = await world.upstream("shop.db.1")
    await world.apply(route, [])
    async with aiohttp.ClientSession() as session:
        waiting = {asyncio.create_task(replica_of(session, route)) for _ in range(40)}
        for _ in range(3):
            await world.apply(route, [replica.endpoint()])
            done, waiting = await asyncio.wait(waiting, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
            await world.apply(route, [])
            assert {task.result() for task in done} == {"shop.db.1"}
            waiting |= {asyncio.create_task(replica_of(session, route)) for _ in done}
        await world.apply(route, [replica.endpoint()])
        assert set(await asyncio.gather(*waiting)) == {"shop.db.1"}


async def test_a_request_on_its_way_to_the_only_replica_arrives_although_the_pool_is_emptied(world: World) -> None:
    """The replica is slow to accept; the kernel asks again a second later, and by then it has left the pool."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as crowded:
        address = Address(host="127.0.0.1", port=crowded.getsockname()[1])
        fill = [socket.create_connection((address.host, address.port))]
        route = replace(world.route(), connect_timeout_s=CONNECT_ALONE_S, hold_timeout_s=DEADLINE_S)
        endpoint = Endpoint(replica_id="shop.db.1", address=address)
        await world.apply(route, [endpoint])
        async with aiohttp.ClientSession() as session:

            async def get() -> int:
                async with session.get(url(route)) as response:
                    return response.status

            asked = asyncio.create_task(get())
            await eventually(lambda: in_flight(world, route), "the request is on its way")
            await world.apply(route, [replace(endpoint, state=EndpointState.DRAIN)])
            await asyncio.sleep(1.2 * CONNECT_TIMEOUT_S)
            assert not asked.done(), "it waits for the connection"
            served = await asyncio.start_server(_empty_answer, sock=crowded)
            async with served:
                assert await asyncio.wait_for(asked, DEADLINE_S) == 200
        for connection in fill:
            connection.close()


async def _empty_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
    writer.close()


async def in_flight(world: World, route: Route) -> bool:
    status = (await world.router.observe(route.project))[route.key]
    return any(endpoint.in_flight for endpoint in status.endpoints)


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
