"""The keeper's log file on a device that is full: `/dev/full` refuses every write as a full disk does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairlead.engines.process.keeper.logfile import MAX_LINE_BYTES, LogFile, Stream, stamp
from fairlead.engines.process.logs import LogReader, parse


def texts(path: Path, tail: int | None = None) -> list[str]:
    reader = LogReader("a.b.1", path)
    found = [line.text for line in reader.history(tail)]
    reader.close()
    return found


def test_lines_lost_to_a_full_disk_are_counted_and_said(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = LogFile(str(path), 1000, 3)
    log.append("stdout", [b"one", b"two"])
    log.append("stdout", [b"three"])
    path.unlink()
    log.close()
    log.append("stdout", [b"four"])
    assert texts(path) == ["fairlead: 3 lines of this log were lost: it could not be written", "four"]


def test_rotation_keeps_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), 200, 3)
    log.append("stdout", [f"line {number}".encode() for number in range(40)])
    assert [file.stat().st_size <= 200 for file in tmp_path.iterdir()] == [True, True, True]
    found = texts(path)
    assert found == [f"line {number}" for number in range(40 - len(found), 40)]
    assert texts(path, tail=7) == found[-7:]


def test_one_file_only(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 100, 1)
    log.append("stdout", [f"line {number}".encode() for number in range(40)])
    assert [file.name for file in tmp_path.iterdir()] == ["log"]
    assert texts(tmp_path / "log")[-1] == "line 39"


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    path = tmp_path / "log"
    stream = Stream(read_end, "stderr", LogFile(str(path), 10**6, 2))
    os.write(write_end, b"x" * (MAX_LINE_BYTES + 10))
    assert stream.drain()
    assert not stream.drain()
    os.close(write_end)
    stream.drain()
    assert stream.ended
    stream.close()
    assert [len(text) for text in texts(path)] == [MAX_LINE_BYTES, 10]


@pytest.mark.parametrize("line", [b"", b"garbage", b"2026-11-21T02:39:12.123Z stdin x", b"x" * 24 + b" stdout y"])
def test_what_is_no_line_is_passed_over(line: bytes) -> None:
    assert parse("a.b.1", line) is None


def test_a_stamp_is_read_back() -> None:
    found = parse("a.b.1", f"{stamp(1795230311.258)} stdout a  b ".encode())
    assert found is not None
    assert found.time_s == pytest.approx(1795230311.258)
    assert (found.stream, found.text) == ("stdout", "a  b ")


def test_a_follower_reads_on_through_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), 200, 4)
    reader = LogReader("a.b.1", path)
    seen = [line.text for line in reader.history(None)]
    for number in range(60):
        log.append("stdout", [f"line {number}".encode()])
        if number % 9 == 0:
            while more := reader.more():
                seen += [line.text for line in more]
    while more := reader.more():
        seen += [line.text for line in more]
    reader.close()
    assert seen == [f"line {number}" for number in range(60)]
