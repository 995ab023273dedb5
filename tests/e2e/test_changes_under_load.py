"""Announced changes, with every kind of client at work: not one request fails, not one stream is cut."""

from pathlib import Path
from typing import Any

import pytest

from .load import EVERYTHING, Load, shown
from .sandbox import Sandbox, listening, quickstart

pytestmark = pytest.mark.slow

PROJECT = "shop"


@pytest.fixture
def journal(sandbox: Sandbox) -> Path:
    return sandbox.directory / "journal"


@pytest.fixture
def file(sandbox: Sandbox, port: int, journal: Path) -> Path:
    environment = {"VERSION": "v1", "QUICKSTART_JOURNAL": str(journal)}
    return sandbox.write({"api": quickstart(port, replicas=3, environment=environment)})


def up(sandbox: Sandbox, file: Path) -> None:
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT, "--engine", "process")


def ready(sandbox: Sandbox) -> list[dict[str, Any]]:
    return sandbox.replicas(PROJECT, state="ready")


def assert_flawless(report: dict[str, Any], *versions: str) -> None:
    """Nothing failed, every kind of client was there, and each of ``versions`` has answered."""
    assert report["failed"] == 0, shown(report)
    kinds = {"keep-alive", "new-connection", "post", "slow", "websocket", "event-stream"}
    assert {kind for kind, tally in report["kinds"].items() if tally["ok"]} == kinds
    assert sorted(report["versions"]) == sorted(versions)


def test_up_serves_and_down_leaves_nothing(sandbox: Sandbox, file: Path, port: int, url: str, journal: Path) -> None:
    up(sandbox, file)
    first = ready(sandbox)
    assert len(first) == 3
    assert {row["service"] for row in first} == {"api"}
    assert len({row["address"] for row in first}) == 3
    with Load(url, *EVERYTHING, "--versions=v1", journal=journal) as load:
        up(sandbox, file)
        load.wait_until_flowing(100)
    assert_flawless(load.report, "v1")
    assert set(load.report["replicas"]) == {row["id"] for row in first}, "each replica takes its share"
    assert ready(sandbox) != []
    assert {row["pid"] for row in ready(sandbox)} == {row["pid"] for row in first}, "a second up changes nothing"

    sandbox.fairlead("down", "-p", PROJECT)
    assert sandbox.replicas(PROJECT) == []
    sandbox.wait_for(lambda: not listening(port), "the published port to close")
    sandbox.fairlead("controller", "stop")
    sandbox.wait_for(lambda: sandbox.processes() == [], "the end of every process")


def test_a_release_and_its_rollback(sandbox: Sandbox, file: Path, url: str, journal: Path) -> None:
    up(sandbox, file)
    (original,) = {row["revision"] for row in ready(sandbox)}
    with Load(url, *EVERYTHING, "--versions=v1,v2", journal=journal) as load:
        sandbox.fairlead("deploy", "api", "--env", "VERSION=v2", "-p", PROJECT)
        # Websockets of v1 may still be finishing on it; requests go to v2 alone from here on.
        with Load(url, "--rate=50", "--versions=v2", "--mix=1,1,1,0") as afterwards:
            afterwards.wait_until_flowing(50)
        sandbox.fairlead("rollback", "-p", PROJECT)
        with Load(url, "--rate=50", "--versions=v1", "--mix=1,1,1,0") as at_the_end:
            at_the_end.wait_until_flowing(50)
    assert_flawless(load.report, "v1", "v2")
    assert afterwards.report["failed"] == 0, shown(afterwards.report)
    assert at_the_end.report["failed"] == 0, shown(at_the_end.report)
    # Not necessarily new processes: one that still finished its streams may have been taken back into service.
    assert [row["revision"] for row in ready(sandbox)] == [original] * 3


def test_scaling_out_and_in(sandbox: Sandbox, file: Path, url: str, journal: Path) -> None:
    up(sandbox, file)
    with Load(url, *EVERYTHING, "--versions=v1", journal=journal) as load:
        sandbox.fairlead("scale", "api=6", "-p", PROJECT)
        six = ready(sandbox)
        load.wait_until_flowing(200)
        sandbox.fairlead("scale", "api=2", "-p", PROJECT)
        two = ready(sandbox)
        load.wait_until_flowing(100)
    assert_flawless(load.report, "v1")
    assert len(six) == 6
    assert len(two) == 2
    assert {row["id"] for row in six} <= set(load.report["replicas"]), "each of the six took requests"


def test_a_restart(sandbox: Sandbox, file: Path, url: str, journal: Path) -> None:
    up(sandbox, file)
    before = {row["pid"] for row in ready(sandbox)}
    with Load(url, *EVERYTHING, "--versions=v1", journal=journal) as load:
        sandbox.fairlead("restart", "-p", PROJECT)
        after = {row["pid"] for row in ready(sandbox)}
        load.wait_until_flowing(100)
    assert_flawless(load.report, "v1")
    assert len(after) == 3
    assert not before & after


def test_two_homes_do_not_know_each_other(
    sandbox: Sandbox, neighbour: Sandbox, file: Path, url: str, journal: Path
) -> None:
    up(sandbox, file)
    there = neighbour.port()
    up(neighbour, neighbour.write({"api": quickstart(there, replicas=1, version="v2")}))
    with Load(url, *EVERYTHING, "--versions=v1", journal=journal) as load:
        with Load(f"http://127.0.0.1:{there}", "--rate=50", "--versions=v2") as other:
            other.wait_until_flowing(50)
        neighbour.fairlead("down", "-p", PROJECT)
        assert neighbour.close() == []
        load.wait_until_flowing(100)
    assert_flawless(load.report, "v1")
    assert other.report["failed"] == 0, shown(other.report)
    assert len(ready(sandbox)) == 3
