"""HAProxy's answers, names, files and the state on disk."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.errors import RouterError, RouterUnavailableError
from fairlead.routers.haproxy.api import Master, Processes, Session, parse_processes
from fairlead.routers.haproxy.binary import find_binary
from fairlead.routers.haproxy.files import LONGEST_SOCKET_PATH_BYTES, files_under
from fairlead.routers.haproxy.names import quoted, unquoted
from fairlead.routers.haproxy.state import Desired, load, save
from fairlead.routers.haproxy.status import Counters, PassiveHealth, WorkerReport
from fairlead.routing import Address, Endpoint, Listen, Route

_PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
17             master          3 [failed: 1]   0d00h00m13s     2.8.25-5cf5d0683
# workers
21             worker          0               0d00h00m01s     2.8.25-5cf5d0683
# old workers
18             worker          2               0d00h00m10s     2.8.25-5cf5d0683
19             worker          1               0d00h00m10s     2.8.25-5cf5d0683
# programs
"""


@given(st.text())
def test_names_come_back_and_are_allowed(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return  # half a character is no name
    assert unquoted(quoted(name)) == name
    assert set(quoted(name)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:")


def test_processes_are_read_with_reloads_and_failures() -> None:
    assert parse_processes(_PROC) == Processes(17, 21, (18, 19), 3, 1)
    assert parse_processes(_PROC).workers == (18, 19, 21)


def test_an_unexpected_list_of_processes_is_an_error() -> None:
    with pytest.raises(RouterError, match="no list of its processes"):
        parse_processes("Permission denied\n")


async def _served(tmp_path: Path, answer: bytes) -> tuple[asyncio.Server, Master]:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(answer)
        writer.close()

    path = tmp_path / "s"
    return await asyncio.start_unix_server(reply, path), Master(path)


async def test_an_unexpected_answer_to_an_order_is_an_error(tmp_path: Path) -> None:
    server, master = await _served(tmp_path, b"Require 'backend/server'.\n\n")
    with pytest.raises(RouterError, match="refused 'set weight x 1': Require"):
        await master.worker(1).order("set weight x 1")
    server.close()


async def test_an_expected_answer_and_silence_are_none(tmp_path: Path) -> None:
    server, master = await _served(tmp_path, b"New server registered.\n\n")
    await master.worker(1).order("add server x", "New server registered")
    server.close()


async def test_sessions_are_read_with_their_age(tmp_path: Path) -> None:
    line = b"0x7f: proto=tcpv4 src=1.2.3.4:5 fe=any-80 be=b srv=s ts=00 epoch=0 age=1h2m calls=3\n"
    server, master = await _served(tmp_path, line)
    assert await master.worker(1).sessions() == [Session("0x7f", "any-80", "b", "s", 3720)]
    server.close()


async def test_a_master_that_lets_go_of_the_asker_is_unavailable(tmp_path: Path) -> None:
    server, master = await _served(tmp_path, b"")
    with pytest.raises(RouterUnavailableError, match="without an answer"):
        await master.processes()
    server.close()


async def test_nobody_answering_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(RouterUnavailableError, match="cannot be reached"):
        await Master(tmp_path / "none").ask("show proc")


def test_a_deep_home_gets_a_short_private_folder_for_its_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    files = files_under(deep)
    assert len(str(files.master_socket)) <= LONGEST_SOCKET_PATH_BYTES
    assert files_under(deep) == files, "the same home finds the same folder"
    files.sockets.chmod(0o755)
    with pytest.raises(RouterError, match="not a private directory"):
        files_under(deep)
    files.sockets.rmdir()


@pytest.mark.parametrize("name", ["my home", "hömé", "a,b", "a;b", 'a"b', "$HOME", "(x)"])
def test_a_home_that_haproxy_could_misread_gets_a_plain_folder_too(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    files = files_under(home)
    for path in (files.master_socket, files.worker_socket, files.hold_map, files.hold_lua):
        assert re.fullmatch(r"[A-Za-z0-9._/-]+", str(path))
    files.sockets.rmdir()


def test_state_comes_back_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert load(path) is None
    endpoint = Endpoint(replica_id="a.b.1", address=Address(host="::1", port=1), weight=3)
    route = Route(project="a", service="b", target=1, listen=Listen(port=0), endpoints=(endpoint,), timeout_s=1.5)
    desired = Desired({"a": (route,)}, {route.key: 5})
    save(path, desired)
    assert load(path) == desired
    path.write_text(path.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(RouterError, match="version 9"):
        load(path)
    path.write_text("{")
    with pytest.raises(RouterError, match="damaged"):
        load(path)


def test_a_binary_that_is_not_there_is_named() -> None:
    with pytest.raises(RouterError, match="/no/haproxy is not an executable"):
        find_binary("/no/haproxy")
    assert Path(find_binary(None)).is_absolute()


def _report(pid: int, **counters: int) -> WorkerReport:
    row = {name: str(value) for name, value in counters.items()}
    return WorkerReport(pid, {"b/s": row}, frozenset(), frozenset(), {}, {}, {})


def test_counters_grow_across_reloads_and_end_with_the_endpoint() -> None:
    counters = Counters()
    counters.add([_report(1, stot=5)])
    counters.add([_report(2, stot=1), _report(1, stot=6)])
    assert counters.total("b/s")["stot"] == 7
    counters.add([_report(2, stot=3)])
    assert counters.total("b/s")["stot"] == 9, "what the ended worker counted stays"
    counters.add([WorkerReport(2, {}, frozenset(), frozenset(), {}, {}, {})])
    assert counters.total("b/s")["stot"] == 0


def test_an_endpoint_fails_while_errors_grow_without_answers() -> None:
    counters, health = Counters(), PassiveHealth()

    def look(now_s: float, **found: int) -> tuple[bool, list[str]]:
        counters.add([_report(1, **found)])
        failing, words = health.look(counters, ["b/s"], now_s)
        return bool(failing), words

    assert look(0, hrsp_2xx=3, wredis=4) == (False, []), "the past before the first look says nothing"
    assert look(1, hrsp_2xx=3, wredis=5) == (True, ["s cannot be reached"])
    assert look(2, hrsp_2xx=3, wredis=6) == (True, [])
    assert look(3, hrsp_2xx=4, wredis=6) == (False, ["s is no longer failing"])
    assert look(4, hrsp_2xx=4, econ=1, wredis=6) == (True, ["s cannot be reached"])
    assert look(15, hrsp_2xx=4, econ=1, wredis=6) == (False, ["s is no longer failing"]), "nothing is tried any more"
