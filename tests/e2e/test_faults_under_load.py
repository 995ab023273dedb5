"""What nobody announces: a replica, the controller or the load balancer is killed."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from .load import EVERYTHING, IDEMPOTENT, Load, shown
from .sandbox import Sandbox, quickstart

pytestmark = pytest.mark.slow

PROJECT = "shop"


@pytest.fixture
def running(sandbox: Sandbox, port: int) -> Path:
    """Three replicas that serve; the file they came from."""
    file = sandbox.write({"api": quickstart(port, replicas=3)})
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT, "--engine", "process")
    return file


def ready(sandbox: Sandbox) -> list[dict[str, Any]]:
    return sandbox.replicas(PROJECT, state="ready")


def revisions(sandbox: Sandbox) -> set[str]:
    return {row["revision"] for row in ready(sandbox)}


def lose_record(sandbox: Sandbox) -> None:
    for file in sandbox.home.glob("state.db*"):
        file.unlink()


@pytest.mark.usefixtures("running")
def test_a_killed_replica_costs_no_idempotent_request_and_is_replaced(sandbox: Sandbox, url: str) -> None:
    victim = ready(sandbox)[0]

    def whole_again() -> bool:
        rows = ready(sandbox)
        return len(rows) == 3 and victim["pid"] not in {row["pid"] for row in rows}

    with Load(url, *IDEMPOTENT) as load:
        # So that some of the slow requests are in the middle of it.
        load.wait_until_flowing(200)
        os.kill(victim["pid"], signal.SIGKILL)
        sandbox.wait_for(whole_again, "full strength")
        load.wait_until_flowing(100)
    assert load.report["failed"] == 0, shown(load.report)


@pytest.mark.parametrize("moment", ["starting", "ready", "draining"])
@pytest.mark.usefixtures("running")
def test_a_release_survives_its_controller(sandbox: Sandbox, url: str, moment: str) -> None:
    (old,) = revisions(sandbox)

    def has_come() -> bool:
        rows = sandbox.replicas(PROJECT)
        new = [row for row in rows if row["revision"] != old]
        wanted = ("creating", "starting", "ready") if moment == "starting" else ("ready",)
        # It may have gone on meanwhile: a later moment is one of the moments, too.
        if moment == "draining":
            left = [row["state"] for row in rows if row["revision"] == old]
            return any(state in ("draining", "stopping") for state in left) or bool(rows and not left)
        return any(row["state"] in wanted for row in new)

    with Load(url, *EVERYTHING, "--versions=v1,v2") as load:
        release = sandbox.start("deploy", "api", "--env", "VERSION=v2", "-p", PROJECT)
        try:
            sandbox.wait_for(has_come, f"a replica that is {moment}")
            killed = sandbox.kill_controller()
            release.communicate(timeout=60)
        finally:
            release.kill()
            release.communicate()
        # Any command brings the controller back, and with it the release to its end.
        sandbox.wait_for(
            lambda: revisions(sandbox) not in (set(), {old}) and len(revisions(sandbox)) == 1, "one revision"
        )
        sandbox.wait_for(lambda: len(ready(sandbox)) == 3, "three replicas")
        assert sandbox.controller_pid() != killed
        with Load(url, "--rate=50", "--versions=v2", "--mix=1,1,1,0") as afterwards:
            afterwards.wait_until_flowing(50)
    assert load.report["failed"] == 0, shown(load.report)
    assert sorted(load.report["versions"]) == ["v1", "v2"]
    assert afterwards.report["failed"] == 0, shown(afterwards.report)


@pytest.mark.parametrize("moment", ["starting", "draining"])
@pytest.mark.usefixtures("running")
def test_a_record_deleted_in_the_middle_of_a_release_costs_no_request(sandbox: Sandbox, url: str, moment: str) -> None:
    (old,) = revisions(sandbox)
    states = {"starting": ("creating", "starting"), "draining": ("draining", "stopping")}[moment]

    def has_come() -> bool:
        rows = sandbox.replicas(PROJECT)
        # It may have gone on meanwhile.
        return any(row["state"] in states for row in rows) or revisions(sandbox) not in (set(), {old})

    with Load(url, *EVERYTHING, "--versions=v1,v2") as load:
        release = sandbox.start("deploy", "api", "--env", "VERSION=v2", "-p", PROJECT)
        try:
            sandbox.wait_for(has_come, f"a replica that is {moment}")
            sandbox.kill_controller(before=lambda: lose_record(sandbox))
            release.communicate(timeout=60)
        finally:
            release.kill()
            release.communicate()
        load.wait_until_flowing(100)
        sandbox.fairlead("deploy", "api", "--env", "VERSION=v2", "-p", PROJECT)
        sandbox.wait_for(lambda: len(revisions(sandbox) - {old}) == len(revisions(sandbox)) == 1, "the new revision")
        sandbox.wait_for(lambda: len(ready(sandbox)) == 3, "three replicas")
    assert load.report["failed"] == 0, shown(load.report)
    assert sorted(load.report["versions"]) == ["v1", "v2"]


@pytest.mark.usefixtures("running")
def test_traffic_does_not_need_the_controller(sandbox: Sandbox, url: str) -> None:
    before = {row["pid"] for row in ready(sandbox)}
    with Load(url, *EVERYTHING, "--versions=v1") as load:
        sandbox.kill_controller()
        load.wait_until_flowing(200)
        assert {row["pid"] for row in ready(sandbox)} == before, "the next controller knows them again"
        load.wait_until_flowing(100)
    assert load.report["failed"] == 0, shown(load.report)


@pytest.mark.usefixtures("running")
def test_a_killed_load_balancer_comes_back_with_the_same_pool(sandbox: Sandbox, url: str) -> None:
    before = {row["pid"] for row in ready(sandbox)}
    balancers = [process for process in sandbox.processes() if "haproxy" in process.name()]
    assert balancers != []
    for process in balancers:
        process.kill()
    psutil.wait_procs(balancers, timeout=10)

    def serves() -> bool:
        try:
            with Load(url, "--rate=20", "--mix=1,1,0,0"):
                return True
        except AssertionError:
            return False

    sandbox.wait_for(serves, "the published port to answer again")
    with Load(url, *EVERYTHING, "--versions=v1") as load:
        load.wait_until_flowing(200)
    assert load.report["failed"] == 0, shown(load.report)
    assert {row["pid"] for row in ready(sandbox)} == before, "no replica was touched"
    assert set(load.report["replicas"]) == {row["id"] for row in ready(sandbox)}, "each replica takes its share"


@pytest.mark.usefixtures("running")
def test_a_stopped_controller_leaves_everything_running(sandbox: Sandbox, url: str) -> None:
    before = {row["pid"] for row in ready(sandbox)}
    with Load(url, "--rate=50", "--versions=v1") as load:
        sandbox.fairlead("controller", "stop")
        load.wait_until_flowing(50)
        assert sandbox.fairlead("controller", "status", check=False).returncode == 7
        assert {row["pid"] for row in ready(sandbox)} == before
    assert load.report["failed"] == 0, shown(load.report)
