"""Accidents: HAProxy dies, the controller dies in the middle, a port is taken, a home is deep."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import sys
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from fairlead.errors import PortTakenError, RouterError
from fairlead.routers.haproxy.api import Master
from fairlead.routers.haproxy.state import Desired, load, save
from fairlead.routing import EndpointState
from tests.contract.routers.harness import DEADLINE_S, endpoints_of, until
from tests.integration.haproxy.world import ROOT, World, replica_of


@pytest.mark.parametrize("victim", ["master", "worker", "both"])
async def test_whatever_dies_comes_back_the_same(world: World, victim: str) -> None:
    one, two = await world.upstream("shop.api.1"), await world.upstream("shop.api.2")
    route = replace(world.route(), sticky_cookie="fl")
    stated = await world.apply(route, [one.endpoint(weight=3), two.endpoint(EndpointState.DRAIN)])
    supervisor = asyncio.create_task(world.router.supervise())
    events = world.router.events()
    before = await world.processes()
    assert before.current
    pids = {"master": [before.master_pid], "worker": [before.current], "both": [before.master_pid, before.current]}
    try:
        for pid in pids[victim]:
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            assert (await anext(events)).message == "haproxy ended"
            assert (await anext(events)).message == "haproxy was brought back"
        after = await world.processes()
        assert after.master_pid != before.master_pid
        assert world.router.launcher.pids() == {after.master_pid, after.current}, "no leftover beside it"
        status = (await world.router.observe("shop"))[stated.key]
        found = {"shop.api.1": (EndpointState.READY, 3), "shop.api.2": (EndpointState.DRAIN, 100)}
        assert endpoints_of(status) == found
        async with aiohttp.ClientSession() as session:
            assert await replica_of(session, stated) == "shop.api.1"
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
        await events.aclose()  # type: ignore[attr-defined]


async def test_files_that_somebody_deleted_are_made_again(world: World) -> None:
    """The old proxy cannot be reached any more, and it holds the ports that the new one needs."""
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    before, files = world.router.launcher.pids(), world.router.launcher.files
    await world.router.close()
    for folder in {files.sockets, files.folder}:
        shutil.rmtree(folder, ignore_errors=True)
    router = await world.open()
    await router.apply("shop", [stated])
    assert (await router.observe("shop"))[stated.key].listening
    assert not router.launcher.pids() & before
    async with aiohttp.ClientSession() as session:
        assert await replica_of(session, stated) == "shop.api.1"


async def listener(port: int) -> socket.socket:
    """Somebody else's; a killed HAProxy is seen no more some milliseconds before the kernel has closed its sockets."""
    found = []

    async def bound() -> bool:
        try:
            found.append(socket.create_server(("0.0.0.0", port)))
        except OSError:
            return False
        return True

    await until(bound)
    return found[0]


async def test_a_port_lost_while_it_was_down_keeps_no_other_route_down(world: World) -> None:
    upstream = await world.upstream("shop.api.1")
    kept, lost = world.route("api"), world.route("web")
    stated = await world.apply(kept, [upstream.endpoint()], lost)
    await world.kill()

    async def dead() -> bool:
        return not world.router.launcher.pids()

    await until(dead)
    with await listener(lost.listen.port):
        supervisor = asyncio.create_task(world.router.supervise())
        events = world.router.events()
        try:
            async with asyncio.timeout(DEADLINE_S):
                while "could not take a listener back" not in (message := (await anext(events)).message):
                    pass
            assert f"pid {os.getpid()}" in message
            statuses = await world.router.observe("shop")
            assert (statuses[stated.key].listening, statuses[lost.key].listening) == (True, False)
            async with aiohttp.ClientSession() as session:
                assert await replica_of(session, stated) == "shop.api.1"
        finally:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
            await events.aclose()  # type: ignore[attr-defined]
    await world.apply(kept, [upstream.endpoint()], lost)
    assert (await world.router.observe("shop"))[lost.key].listening, "free again: the next apply takes it"


async def test_what_is_tried_again_and_again_is_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    await world.kill()

    async def dead() -> bool:
        return not world.router.launcher.pids()

    await until(dead)
    tries = 0
    stop = world.router.launcher.stop

    async def counted() -> None:
        nonlocal tries
        tries += 1
        await stop()

    async def tried_often() -> bool:
        return tries >= 3

    monkeypatch.setattr(world.router.launcher, "stop", counted)
    told: list[str] = []

    async def listen() -> None:
        events = world.router.events()
        while True:
            told.append((await anext(events)).message)

    async def is_back() -> bool:
        return "haproxy was brought back" in told

    with await listener(stated.listen.port) as thief:
        tasks = [asyncio.create_task(world.router.supervise()), asyncio.create_task(listen())]
        try:
            await until(tried_often)
            thief.close()
            await until(is_back)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert len(told) == len(set(told)), told
    assert (told[0], told[-1]) == ("haproxy ended", "haproxy was brought back")


async def test_a_successor_takes_over_without_a_reload(world: World) -> None:
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    before = await world.processes()
    await world.router.close()
    world.router = await world.open()
    await world.router.apply("shop", [stated])
    other = await world.upstream("shop.api.2")
    await world.apply(stated, [upstream.endpoint(), other.endpoint()])
    assert await world.processes() == before


@pytest.mark.parametrize("content", [None, "{"], ids=["gone", "damaged"])
async def test_without_its_record_a_successor_keeps_the_routes_of_every_project(
    world: World, content: str | None
) -> None:
    """The first project that states its routes again needs a reload; the others have not spoken yet."""
    shop, blog = await world.upstream("shop.api.1"), await world.upstream("blog.web.1")
    stated = await world.apply(world.route(), [shop.endpoint()])
    other = await world.apply(world.route("web", project="blog"), [blog.endpoint()])
    joined = await world.upstream("blog.web.2")
    await world.apply(other, [joined.endpoint()])
    state = world.router.launcher.files.state
    await world.router.close()
    state.unlink()
    if content is not None:
        state.write_text(content)
    world.router = await world.open()
    await world.router.apply("shop", [stated, world.route("admin")])
    async with aiohttp.ClientSession() as session:
        assert await replica_of(session, other) == "blog.web.2", "who serves, and not who did at the last reload"
        assert await replica_of(session, stated) == "shop.api.1"
    assert set(endpoints_of((await world.router.observe("blog"))[other.key])) == {"blog.web.2"}
    assert load(state) is not None


async def test_unknown_leftovers_in_a_pool_are_taken_out(world: World) -> None:
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    foreign = await world.upstream("foreign")
    processes = await world.processes()
    backend = stated.key.replace("/", ":2f")
    worker = f"@!{processes.current}"
    for command in (
        f"add server {backend}/foreign 127.0.0.1:{foreign.port}",
        f"set server {backend}/foreign state ready",
        f"set server {backend}/shop.api.1 state maint",
    ):
        await _tell(world.router.launcher.files.master_socket, f"{worker} {command}")
    assert set(endpoints_of((await world.router.observe("shop"))[stated.key])) == {"foreign", "shop.api.1"}
    await world.router.apply("shop", [stated])
    found = endpoints_of((await world.router.observe("shop"))[stated.key])
    assert found == {"shop.api.1": (EndpointState.READY, 100)}


async def _tell(path: Path, command: str) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(f"{command}\n".encode())
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_taken_port_is_named_and_the_rest_goes_on_serving(world: World) -> None:
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    before = await world.processes()
    taken = world.foreign_port()
    with pytest.raises(PortTakenError) as caught:
        await world.router.apply("blog", [world.route("web", project="blog", port=taken)])
    assert f"port {taken} is taken by " in caught.value.message
    assert f"(pid {os.getpid()})" in caught.value.message
    assert caught.value.hint
    assert await world.processes() == before
    async with aiohttp.ClientSession() as session:
        assert await replica_of(session, stated) == "shop.api.1"


async def test_two_homes_do_not_share_a_port(world: World, tmp_path: Path) -> None:
    stated = await world.apply(world.route(), [])
    (tmp_path / "second").mkdir()
    second = World(tmp_path / "second")
    try:
        router = await second.open()
        with pytest.raises(PortTakenError, match="haproxy"):
            await router.apply("shop", [stated])
        assert await router.observe("shop") == {}
    finally:
        await second.close()


@pytest.mark.parametrize("dropping", [True, False], ids=["as it is", "workers keep their rights"])
async def test_a_reload_that_fails_leaves_everything_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch, dropping: bool
) -> None:
    """The port is taken between the check and the reload: only HAProxy itself can see that."""
    if dropping and os.geteuid() == 0 and await _version(world) < (2, 8):
        pytest.skip("this HAProxy cannot pause the abstract socket that workers without rights need")
    if not dropping:
        monkeypatch.setattr("fairlead.routers.haproxy.launch.LocalLauncher.drop_to", None)
        world.router = await world.open()
    upstream = await world.upstream("shop.api.1")
    stated = await world.apply(world.route(), [upstream.endpoint()])
    config = world.router.launcher.files.config.read_text()
    state = world.router.launcher.files.state.read_text()
    taken = world.foreign_port()
    with monkeypatch.context() as patch:
        patch.setattr("fairlead.routers.haproxy.ports.check_free", lambda listen, ours: None)
        with pytest.raises(RouterError, match="did not take the new listeners"):
            await world.router.apply("blog", [world.route("web", project="blog", port=taken)])
    assert world.router.launcher.files.config.read_text() == config
    assert world.router.launcher.files.state.read_text() == state
    assert await world.router.observe("blog") == {}
    async with aiohttp.ClientSession() as session:
        assert await replica_of(session, stated) == "shop.api.1"
    extra = world.route("web", project="blog")
    await world.router.apply("blog", [extra])
    assert (await world.router.observe("blog"))[extra.key].listening, "the next reload works"


async def _version(world: World) -> tuple[int, ...]:
    await world.apply(world.route("version"), [])
    text = await Master(world.router.launcher.files.master_socket).ask("show proc")
    return tuple(int(part) for part in text.splitlines()[1].split()[-1].split(".")[:2])


async def test_a_deep_home_with_an_odd_name_has_its_sockets_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d ö" * 30) / ("$e" * 45)
    deep.mkdir(parents=True)
    world = World(deep)
    try:
        world.router = await world.open()
        upstream = await world.upstream("shop.api.1")
        stated = await world.apply(world.route(), [upstream.endpoint()])
        async with aiohttp.ClientSession() as session:
            assert await replica_of(session, stated) == "shop.api.1"
        sockets = world.router.launcher.files.sockets
        assert not sockets.is_relative_to(deep)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert {stat.S_IMODE(found.stat().st_mode) for found in sockets.iterdir()} == {0o600}
    finally:
        await world.close()


_CONTROLLER = """
import asyncio, os, signal, sys
from pathlib import Path
from fairlead.routers.haproxy import HAProxyRouter, api, proxy, router
from fairlead.routers.haproxy.state import load

home, left = Path(sys.argv[1]), int(sys.argv[2])

def counting(function):
    def wrapper(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapper

api.Master.ask = counting(api.Master.ask)
proxy.write_beside = counting(proxy.write_beside)
router.save = counting(router.save)

async def main():
    wish = load(Path(sys.argv[3]))
    driven = HAProxyRouter(home, binary=os.environ.get("FAIRLEAD_HAPROXY"))
    for project, routes in sorted(wish.projects.items()):
        await driven.apply(project, routes)
    await driven.close()

asyncio.run(main())
"""


async def test_a_controller_killed_at_any_step_leaves_what_the_next_one_repairs(world: World, tmp_path: Path) -> None:
    """Killed before its first outside effect, before its second, and so on: through a pool change and a reload."""
    one, two = await world.upstream("shop.api.1"), await world.upstream("shop.api.2")
    base, extra_port = world.route(), world.free_port()
    old = replace(base, endpoints=(one.endpoint(),))
    new = replace(base, endpoints=(two.endpoint(), one.endpoint(EndpointState.DRAIN)), hold_timeout_s=7.0)
    extra = replace(world.route("web", project="zoo", port=extra_port), endpoints=(two.endpoint(),))
    wish = tmp_path / "wish.json"
    save(wish, Desired({"shop": (new,), "zoo": (extra,)}))
    script = tmp_path / "controller.py"
    script.write_text(_CONTROLLER)
    survived = False
    for step in range(1, 200):
        world.router = await world.open()
        await world.router.apply("zoo", [])
        await world.router.apply("shop", [old])
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), str(world.home), str(step), str(wish), cwd=ROOT
        )
        status = await asyncio.wait_for(process.wait(), DEADLINE_S)
        assert status in (0, -signal.SIGKILL)
        async with aiohttp.ClientSession() as session:
            assert await replica_of(session, old) in ("shop.api.1", "shop.api.2"), f"step {step}: still serving"
        world.router = await world.open()
        await world.router.apply("shop", [new])
        await world.router.apply("zoo", [extra])
        found = endpoints_of((await world.router.observe("shop"))[new.key])
        assert found == {"shop.api.1": (EndpointState.DRAIN, 100), "shop.api.2": (EndpointState.READY, 100)}, step
        assert (await world.router.observe("zoo"))[extra.key].listening, step
        if status == 0:
            survived = True
            break
    assert survived
    assert step > 10, "every step was tried"
