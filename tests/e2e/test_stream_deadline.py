"""A websocket on a replica that leaves has a deadline of its own: it lives until then, and no longer."""

import contextlib
import json
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .sandbox import Sandbox, quickstart

pytestmark = pytest.mark.slow

PROJECT = "shop"
STREAM_TIMEOUT_S = 3.0


@pytest.fixture
def file(sandbox: Sandbox, port: int) -> Path:
    rollout = {"stream_timeout": f"{STREAM_TIMEOUT_S:g}s"}
    options = {"probes": {"readiness": {"http": "/health", "interval": "250ms"}}, "rollout": rollout}
    return sandbox.write({"api": quickstart(port, replicas=1, **{"x-fairlead": options})})


def answers(socket: ClientConnection) -> bool:
    with contextlib.suppress(ConnectionClosed):
        socket.send("still there?")
        return "still there?" in str(socket.recv(timeout=30))
    return False


def test_a_websocket_is_cut_at_its_own_deadline_and_not_before(sandbox: Sandbox, file: Path, port: int) -> None:
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT)
    (old,) = sandbox.replicas(PROJECT)
    with connect(f"ws://127.0.0.1:{port}/ws", open_timeout=30) as before:
        assert answers(before)
        sandbox.fairlead("deploy", "api", "--env", "VERSION=v2", "-p", PROJECT)
        with connect(f"ws://127.0.0.1:{port}/ws", open_timeout=30) as after:
            sandbox.wait_for(lambda: not answers(before), "the end of the old replica's websocket")
            assert answers(after), "the new replica's websocket has nothing to do with it"
    sandbox.wait_for(lambda: old["id"] not in {row["id"] for row in sandbox.replicas(PROJECT)}, "the old one to go")
    events = [json.loads(line) for line in sandbox.fairlead("events", "-p", PROJECT, "--json").stdout.splitlines()]
    at_s = {event["kind"]: event["at_s"] for event in events if event["replica_id"] == old["id"]}
    assert at_s["replica-stopping"] - at_s["replica-draining"] >= STREAM_TIMEOUT_S
