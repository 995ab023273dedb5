"""TCP routes: carried as they are, counted, held, with PROXY protocol."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from fairlead.routing import Endpoint, Route
from fairlead.spec.model import RouteProtocol
from tests.contract.routers.harness import DEADLINE_S, until
from tests.integration.haproxy.world import World


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(b"hello\n")
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def _route(world: World, **options: object) -> Route:
    return replace(world.route("db"), protocol=RouteProtocol.TCP, **options)  # type: ignore[arg-type]


async def _connect(route: Route) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", route.listen.port)
    assert await asyncio.wait_for(reader.readline(), DEADLINE_S) == b"hello\n"
    return reader, writer


async def test_a_connection_outlives_drain_and_reload(world: World) -> None:
    one = Endpoint(replica_id="shop.db.1", address=await world.serve(_echo))
    two = Endpoint(replica_id="shop.db.2", address=await world.serve(_echo))
    route = await world.apply(_route(world), [one])
    reader, writer = await _connect(route)

    async def open_now() -> list[tuple[str, int, int]]:
        status = (await world.router.observe("shop"))[route.key]
        return [(e.replica_id, e.in_flight, e.streams) for e in status.endpoints]

    assert await open_now() == [("shop.db.1", 1, 1)]
    await world.apply(route, [two])
    await world.router.apply("blog", [world.route("web", project="blog")])
    writer.write(b"still here\n")
    assert await asyncio.wait_for(reader.readline(), DEADLINE_S) == b"still here\n"
    writer.close()
    await writer.wait_closed()

    async def only_the_new_one() -> bool:
        return await open_now() == [("shop.db.2", 0, 0)]

    await until(only_the_new_one)


async def test_a_connection_waits_for_the_first_replica(world: World) -> None:
    route = await world.apply(_route(world, hold_timeout_s=DEADLINE_S), [])
    waiting = asyncio.create_task(_connect(route))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    await world.apply(route, [Endpoint(replica_id="shop.db.1", address=await world.serve(_echo))])
    _, writer = await waiting
    writer.close()
    await writer.wait_closed()


async def test_a_connection_that_nobody_takes_is_closed(world: World) -> None:
    route = await world.apply(_route(world, hold_timeout_s=0.1), [])
    reader, writer = await asyncio.open_connection("127.0.0.1", route.listen.port)
    try:
        assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
    except ConnectionResetError:
        pass
    writer.close()


async def test_the_proxy_protocol_tells_the_client(world: World) -> None:
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.put_nowait(await reader.readline())
        await _echo(reader, writer)

    one = Endpoint(replica_id="shop.db.1", address=await world.serve(note))
    route = await world.apply(_route(world, send_proxy=True), [])
    route = await world.apply(route, [one])
    _, writer = await _connect(route)
    said = (await asyncio.wait_for(lines.get(), DEADLINE_S)).split()
    host, port = writer.get_extra_info("sockname")
    assert said == [b"PROXY", b"TCP4", host.encode(), b"127.0.0.1", str(port).encode(), str(route.listen.port).encode()]
    writer.close()
    await writer.wait_closed()
