"""The machine's wall clock is set, far ahead and far back, while a release is on its way."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .load import Load, shown
from .sandbox import Sandbox, quickstart

pytestmark = pytest.mark.slow

PROJECT = "shop"
DAY_S = 86_400
TRAFFIC = ("--rate=50", "--mix=60,20,20,0", "--websockets=4", "--event-streams=2", "--stream-life=1")
_JUMPING = """\
import time
_real_s = time.time
def _jumped_s():
    with open({path!r}) as file:
        return _real_s() + float(file.read())
time.time = _jumped_s
time.time_ns = lambda: int(_jumped_s() * 1e9)
"""


class WallClock:
    """What every Python process of the sandbox takes for the time: controller, keeper, replicas."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._path = folder / "offset"
        self.jump(0)
        (folder / "sitecustomize.py").write_text(_JUMPING.format(path=str(self._path)))

    def jump(self, offset_s: float) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(str(offset_s))
        beside.replace(self._path)


@pytest.fixture
def clock(sandbox: Sandbox) -> Iterator[WallClock]:
    clock = WallClock(sandbox.directory / "clock")
    path = os.pathsep.join(filter(None, (str(clock.folder), os.environ.get("PYTHONPATH"))))
    sandbox.environment = {**sandbox.environment, "PYTHONPATH": path}
    yield clock
    clock.jump(0)


def ids(sandbox: Sandbox) -> set[str]:
    return {row["id"] for row in sandbox.replicas(PROJECT)}


def test_no_release_notices_that_the_wall_clock_is_set(sandbox: Sandbox, clock: WallClock, port: int, url: str) -> None:
    file = sandbox.write({"api": quickstart(port, replicas=2)})
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT)
    before = sandbox.json("controller", "status")["started_at_s"]
    with Load(url, *TRAFFIC) as load:
        for version, offset_s in (("v2", DAY_S), ("v3", -7 * DAY_S)):
            old = ids(sandbox)
            release = sandbox.start("deploy", "api", "--env", f"VERSION={version}", "-p", PROJECT)
            sandbox.wait_for(lambda known=old: ids(sandbox) - known, "the first new replica")
            clock.jump(offset_s)
            said, _ = release.communicate(timeout=60)
            assert release.returncode == 0, said
            load.wait_until_flowing(20)
    assert load.report["failed"] == 0, shown(load.report)
    assert {"v1", "v2", "v3"} == set(load.report["versions"])
    rows = sandbox.replicas(PROJECT, state="ready")
    assert [row["restarts"] for row in rows] == [0, 0]
    assert sandbox.json("controller", "status")["started_at_s"] == before, "it is still the same controller"
