"""What replicas write: kept in order, rotated whoever lives, and never worth a replica's life."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

import pytest

from fairlead.engines.base import LogLine
from fairlead.engines.process import ProcessEngine
from fairlead.errors import EngineUnavailableError
from fairlead.observed import ExitCause
from fairlead.spec.model import Logging
from tests.contract.engines.harness import DEADLINE_S, eventually
from tests.integration.process_engine.world import World, ended, lines, pid_of, says, start_in_a_controller

SMALL = Logging(options={"max-size": "4k", "max-file": "3"})


def count_to(number: int, then: str = "") -> str:
    return f"i=0; while [ $i -lt {number} ]; do i=$((i+1)); echo line $i; done; {then}"


async def test_streams_are_told_apart_and_an_open_line_is_kept(world: World, engine: ProcessEngine) -> None:
    spec = world.sh("echo out; echo err >&2; printf 'no end'; printf 'caf\\303\\251 \\377' >&2")
    await engine.start(spec)
    await ended(engine, spec)
    seen = {(line.stream, line.text) async for line in engine.logs(spec.id)}
    assert seen == {("stdout", "out"), ("stderr", "err"), ("stdout", "no end"), ("stderr", "café \ufffd")}


async def test_rotation_keeps_the_newest_and_stays_within_its_bounds(world: World, engine: ProcessEngine) -> None:
    spec = world.sh(count_to(1000), logging=SMALL)
    await engine.start(spec)
    await ended(engine, spec)
    files = sorted(world.run_directory(spec).glob("log*"))
    assert [path.name for path in files] == ["log", "log.1", "log.2"]
    texts = await lines(engine, spec)
    assert texts[-1] == "line 1000"
    first = int(texts[0].split()[1])
    assert 1 < first < 1000
    assert texts == [f"line {number}" for number in range(first, 1001)]
    assert await lines(engine, spec, tail=150) == [f"line {number}" for number in range(851, 1001)]


async def test_rotation_goes_on_without_a_controller(world: World) -> None:
    done = world.directory / "done"
    spec = world.sh(count_to(1000, f"touch {done}; exec sleep 1000"), logging=SMALL)
    start_in_a_controller(world.home, [spec], die_at="started")
    await eventually(done.exists, "everything has been written while no controller runs")
    engine = await world.open()
    await says(engine, spec, "line 1000")
    assert {path.name for path in world.run_directory(spec).glob("log*")} == {"log", "log.1", "log.2"}


async def test_following_loses_nothing_when_the_log_rotates(world: World, engine: ProcessEngine) -> None:
    # What is kept is about 300 lines: the writer may be ahead of the reader, but not by that many.
    pause = f"[ $((i % 50)) = 0 ] && while [ ! -e {world.directory}/read-$i ]; do sleep 0.02; done"
    counted = f"i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo line $i; {pause}; done; exec sleep 1000"
    spec = world.sh(counted, logging=SMALL)
    await engine.start(spec)
    seen: list[LogLine] = []

    async def follow() -> None:
        async for line in engine.logs(spec.id, follow=True):
            seen.append(line)
            (world.directory / line.text.replace("line ", "read-")).touch()

    following = asyncio.create_task(follow())
    await eventually(lambda: bool(seen) and seen[-1].text == "line 500", "the last line has been read")
    await engine.stop(spec.id, 0.0)
    await engine.remove(spec.id)
    await asyncio.wait_for(following, DEADLINE_S)
    assert [line.text for line in seen] == [f"line {number}" for number in range(1, 501)]
    assert (world.run_directory(spec) / "log.1").exists() is False


async def test_nothing_is_kept_where_the_file_says_so(world: World, engine: ProcessEngine) -> None:
    spec = world.sh(count_to(100), logging=Logging(driver="none"))
    await engine.start(spec)
    assert (await ended(engine, spec)).code == 0
    assert await lines(engine, spec) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    point = tmp_path / "disk"
    point.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "fairlead-test", str(point)], capture_output=True, check=False
    )
    if mounting.returncode != 0:
        pytest.skip("no right to mount a file system")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def _write_for_ever(file: RawIOBase) -> None:
    while True:
        file.write(b"x" * 4096)


def fill(disk: Path) -> Path:
    """Write to ``disk`` until nothing fits any more."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        _write_for_ever(file)
    return ballast


async def test_a_start_on_a_full_disk_can_be_tried_again(small_disk: Path) -> None:
    world = World(small_disk)
    try:
        engine = await world.open()
        await engine.start(world.spec(1))
        ballast = fill(small_disk)
        with pytest.raises(EngineUnavailableError):
            await engine.start(world.spec(2))
        assert [replica.id for replica in await engine.observe("world")] == ["world.api.1"]
        ballast.unlink()
        await engine.start(world.spec(2))
        assert len(await engine.observe("world")) == 2
    finally:
        await world.close()


async def test_a_full_disk_costs_lines_and_nothing_else(small_disk: Path) -> None:
    world = World(small_disk)
    try:
        engine = await world.open()
        go = world.directory / "go"
        wait = f"while [ ! -e {go} ]; do sleep 0.02; done;"
        spec = world.sh(f"echo begun; {wait} {count_to(20000)} echo through; exec sleep 1000")
        await engine.start(spec)
        await says(engine, spec, "begun")
        go.touch()
        ballast = fill(small_disk)
        pid = await pid_of(engine, spec)
        await eventually(
            lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "sleep",
            "it has written 20,000 lines to a full disk",
        )
        os.kill(pid, 9)
        found = await ended(engine, spec)
        assert (found.cause, found.code) == (ExitCause.KILLED, -9)
        later = await world.open()
        assert await ended(later, spec) == found
        ballast.unlink()
    finally:
        await world.close()
