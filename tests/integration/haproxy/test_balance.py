"""Who answers: weights, sticky cookies, source hash, hosts and paths, headers."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter

import aiohttp
import pytest
from msgspec.structs import replace

from fairlead.routing import EndpointState, Route
from tests.integration.haproxy.world import World, replica_of, url


async def _ask(route: Route, count: int) -> Counter[str]:
    """``count`` requests over a few kept connections."""
    found: Counter[str] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8)) as session:

        async def one_of_many(share: int) -> None:
            for _ in range(share):
                found[await replica_of(session, route)] += 1

        await asyncio.gather(*(one_of_many(count // 8) for _ in range(8)))
    return found


@pytest.mark.parametrize(
    # least_conn prefers the idle one of the two it draws: between 5 % and 1 - 0.95² = 9.75 %, ± five sigma of 2,000
    ("balance", "least", "most"),
    [("round_robin", 95, 105), ("least_conn", 50, 262)],
)
async def test_weights_split_traffic(world: World, balance: str, least: int, most: int) -> None:
    route = replace(world.route(), balance=balance)
    stable, canary = await world.upstream("shop.api.1"), await world.upstream("shop.api.2")
    stated = await world.apply(route, [stable.endpoint(weight=95), canary.endpoint(weight=5)])
    found = await _ask(stated, 2000)
    assert least <= found["shop.api.2"] <= most, found
    stated = await world.apply(route, [stable.endpoint(weight=50), canary.endpoint(weight=50)])
    found = await _ask(stated, 800)
    assert 300 <= found["shop.api.2"] <= 500, found


async def test_least_conn_spares_a_busy_replica(world: World) -> None:
    busy, free = await world.upstream("shop.api.1"), await world.upstream("shop.api.2")
    stated = await world.apply(world.route(), [busy.endpoint()])
    await world.hang(stated, "shop.api.1", requests=40)
    stated = await world.apply(stated, [busy.endpoint(), free.endpoint()])
    found = await _ask(stated, 400)
    assert found["shop.api.2"] > 250, found  # three of four expected, an even split would be 200


async def test_a_cookie_sticks_to_its_replica(world: World) -> None:
    route = replace(world.route(), sticky_cookie="fairlead", balance="round_robin")
    first = await world.upstream("shop.api.1")
    stated = await world.apply(route, [first.endpoint()])
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        assert await replica_of(session, stated) == "shop.api.1"
        others = [await world.upstream(f"shop.api.{number}") for number in (2, 3)]
        stated = await world.apply(route, [first.endpoint(), *(other.endpoint() for other in others)])
        assert {await replica_of(session, stated) for _ in range(30)} == {"shop.api.1"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        chosen = {await replica_of(session, stated)}
        assert {await replica_of(session, stated) for _ in range(30)} == chosen, "also one that came at run time"


async def test_a_draining_replica_gets_nothing_new_even_with_its_cookie(world: World) -> None:
    route = replace(world.route(), sticky_cookie="fairlead")
    one, two = await world.upstream("shop.api.1"), await world.upstream("shop.api.2")
    stated = await world.apply(route, [one.endpoint()])
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        assert await replica_of(session, stated) == "shop.api.1"
        await world.apply(route, [one.endpoint(EndpointState.DRAIN), two.endpoint()])
        assert {await replica_of(session, stated) for _ in range(10)} == {"shop.api.2"}


async def test_source_sends_one_client_to_one_replica(world: World) -> None:
    route = replace(world.route(), balance="source")
    upstreams = [await world.upstream(f"shop.api.{number}") for number in range(1, 4)]
    stated = await world.apply(route, [upstream.endpoint() for upstream in upstreams])
    found = await _ask(stated, 80)
    assert len(found) == 1


async def test_hosts_and_paths_share_a_port(world: World) -> None:
    port = world.free_port()
    rules: dict[str, dict[str, str]] = {
        "front": {},
        "api": {"path": "/api"},
        "admin": {"host": "admin.example.org"},
        "any": {"host": "*.example.org"},
        "deep": {"host": "admin.example.org", "path": "/api/v2"},
    }
    routes = []
    for project, rule in rules.items():
        upstream = await world.upstream(f"{project}.web.1")
        route = replace(world.route("web", project=project, port=port), endpoints=(upstream.endpoint(),), **rule)  # type: ignore[arg-type]
        await world.router.apply(project, [route])
        routes.append(route)
    asked = {
        ("localhost", "/"): "front",
        ("localhost", "/api"): "api",
        ("localhost", "/api/x"): "api",
        ("localhost", "/apix"): "front",
        ("ADMIN.example.org:80", "/"): "admin",
        ("shop.example.org", "/api"): "any",
        ("admin.example.org", "/api/v2/x"): "deep",
        ("admin.example.org", "/api"): "admin",
    }
    async with aiohttp.ClientSession() as session:
        for (host, path), project in asked.items():
            assert await replica_of(session, routes[0], path, headers={"Host": host}) == f"{project}.web.1"
        await world.router.apply("front", [])
        await world.router.apply("api", [])
    async with aiohttp.ClientSession() as session, session.get(url(routes[0]), headers={"Host": "x.org"}) as response:
        assert response.status == 404


async def test_the_replica_learns_who_asked_and_how(world: World) -> None:
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    async with aiohttp.ClientSession() as session:
        await replica_of(session, stated, headers={"Host": "shop.example.org"})
        assert upstream.headers["x-forwarded-for"] == ["127.0.0.1"]
        assert upstream.headers["x-forwarded-proto"] == ["http"]
        assert upstream.headers["x-forwarded-host"] == ["shop.example.org"]
        sent = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        await replica_of(session, stated, headers=sent)
        assert upstream.headers["x-forwarded-for"] == ["203.0.113.7", "127.0.0.1"]
        assert upstream.headers["x-forwarded-proto"] == ["https"], "a TLS terminator on a private address is believed"


async def test_what_a_stranger_says_of_its_own_origin_does_not_arrive(world: World) -> None:
    upstream = await world.upstream("shop.api.1")
    await world.apply(world.route(), [upstream.endpoint()])
    claims = "X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port X-Forwarded-Ssl X-Forwarded-Prefix"
    sent = dict.fromkeys(f"{claims} Forwarded X-Real-IP x_forwarded_for".split(), "a-lie")
    assert await _status_as(world, "203.0.113.7", {**sent, "X-Mine": "kept"}) == 200
    told = {name: values for name, values in upstream.headers.items() if "forwarded" in name or "real" in name}
    assert told == {
        "x-forwarded-for": ["203.0.113.7"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": ["shop.example.org"],
    }
    assert upstream.headers["x-mine"] == ["kept"]
    assert await _status_as(world, "10.0.0.7", sent) == 200
    assert upstream.headers["x-forwarded-port"] == upstream.headers["x-real-ip"] == ["a-lie"], "a proxy may say it"


async def _status_as(world: World, address: str, headers: dict[str, str]) -> int:
    """What a request from ``address`` is answered, sent by the way that old workers take: with the PROXY protocol."""
    config = world.router.launcher.files.config.read_text()
    ((kind, name),) = re.findall(r'bind "?(abns|unix)@([^" ]+)"? accept-proxy', config)
    if kind == "abns":
        name = f"\0{name}".ljust(108, "\0")  # HAProxy takes the whole field of the address for the name
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, name)
        reader, writer = await asyncio.open_connection(sock=connection)
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        request = f"GET / HTTP/1.1\r\nHost: shop.example.org\r\nConnection: close\r\n{lines}\r\n"
        writer.write(f"PROXY TCP4 {address} 127.0.0.1 40000 80\r\n{request}".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return int(answer.split()[1])


async def test_a_quiet_event_stream_counts_as_one(world: World) -> None:
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    async with aiohttp.ClientSession() as session, session.get(url(stated, "/events")) as response:
        assert await response.content.readline() == b"data: shop.api.1\n"
        status = (await world.router.observe("shop"))[stated.key]
        assert [(e.in_flight, e.streams) for e in status.endpoints] == [(1, 1)]
        upstream.gate.set()
        assert b"data: end" in await response.content.read()
