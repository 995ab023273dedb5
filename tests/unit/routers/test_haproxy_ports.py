"""Ports that the load balancer chooses by itself, and what is said of one that it cannot have."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead import local_ports
from fairlead.errors import PortTakenError
from fairlead.routers.haproxy import ports
from fairlead.routing import Listen

ENDING = """
import ctypes, os, socket, sys, threading
held = socket.create_server(("127.0.0.1", 0))
def stay():
    while open(f"/proc/{os.getpid()}/cmdline").read():
        pass
    print(held.getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=stay).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
"""
"""Its first thread has ended, as that of a killed HAProxy has for some milliseconds; another one keeps the socket."""


def test_a_chosen_port_is_one_that_no_connection_gets_by_chance() -> None:
    possible = local_ports.below_ephemeral(*ports.CHOSEN)
    found = ports.free_port("127.0.0.1", ())
    assert possible is None or found in possible
    ports.check_free(Listen(host="127.0.0.1", port=found), ())


def test_a_port_that_somebody_has_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        busy = listener.getsockname()[1]
        monkeypatch.setattr(ports, "below_ephemeral", lambda *limits: range(busy, busy + 3))
        monkeypatch.setattr(ports, "ATTEMPTS", 3)
        assert ports.free_port("127.0.0.1", (busy + 1,)) not in (busy, busy + 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("32768\t60999\n", range(10_000, 20_000)),
        ("15000 60999", range(10_000, 15_000)),
        ("1024 65535", None),
        ("10500 60999", None),
        ("", None),
        ("none", None),
    ],
)
def test_the_ephemeral_range_is_left_alone(
    text: str, found: range | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "range"
    told.write_text(text)
    monkeypatch.setattr(local_ports, "_RANGE", told)
    assert local_ports.below_ephemeral(10_000, 20_000) == found


def test_a_connection_may_have_a_port_too() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        port = client.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"port {port} is taken by \S+ \(pid \d+\)"):
            ports.check_free(Listen(host="127.0.0.1", port=port), ())


def test_nobody_is_blamed_for_a_port_that_nobody_is_seen_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setattr(ports, "_ENDING_S", 0.0)
        monkeypatch.setattr(ports.psutil, "net_connections", lambda kind: [])
        with pytest.raises(PortTakenError, match="nobody is seen who has it"):
            ports.check_free(Listen(host="127.0.0.1", port=listener.getsockname()[1]), ())


def test_a_port_of_which_the_holder_is_ending_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ENDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ending:
        assert ending.stdout
        assert ending.stdin
        port = int(ending.stdout.readline())
        looked = ports._holders
        seen: list[str] = []

        def looked_once(port: int, address: str) -> list[ports._Holder]:
            found = looked(port, address)
            seen.extend(holder.name for holder in found if not holder.ending)
            ending.stdin.close()
            return found

        monkeypatch.setattr(ports, "_holders", looked_once)
        ports.check_free(Listen(host="127.0.0.1", port=port), ())
        assert not seen
