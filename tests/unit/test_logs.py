from __future__ import annotations

import logging
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead import logs
from fairlead.logs import BoundedFile, LineFormatter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "controller.log"


def test_an_entry_is_one_line(path: Path) -> None:
    with logs.written_to(path):
        log = logs.room("controller.execute")
        log.info("replica %s started", "shop.web.1", replica="shop.web.1", took_s=0.25, why="said so", none=None)
        log.debug("not at this level")
    (line,) = path.read_text().splitlines()
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == (
        'INFO controller.execute replica shop.web.1 started replica=shop.web.1 took_s=0.25 why="said so" none=None'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_logged_can_forge_a_line(path: Path) -> None:
    with logs.written_to(path):
        log = logs.room("probes")
        log.warning("first\nsecond \x1b[31m\x7f\u2028 \udcff", output='a\n"b"\t\u2028c', ok="schön")
        try:
            raise ValueError("broken\nvalue")
        except ValueError:
            log.exception("failed")
    first, second = path.read_text().splitlines()
    assert first.isprintable()
    assert r"first\nsecond \u001b[31m\u007f\u2028 \udcff" in first
    assert r'output="a\n\"b\"\t\u2028c"' in first
    assert "ok=schön" in first
    assert second.isprintable()
    assert r"ValueError: broken\nvalue" in second


def test_a_log_ends_with_its_block_and_the_process_is_as_before(path: Path) -> None:
    logger = logging.getLogger("fairlead")
    before = (list(logger.handlers), logger.level, logger.propagate)
    with logs.written_to(path, "debug"):
        logs.room("probes").debug("hello")
    logs.room("probes").error("nobody listens")
    (line,) = path.read_text().splitlines()
    assert line.endswith("DEBUG probes hello")
    assert (list(logger.handlers), logger.level, logger.propagate) == before


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("fairlead.test", logging.INFO, __file__, 1, text, None, None)


def test_the_files_are_bounded_and_keep_the_newest(path: Path) -> None:
    handler = BoundedFile(path, limit_bytes=1000)
    for number in range(200):
        handler.emit(record(f"{number:050d}"))
    handler.close()
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["controller.log", "controller.log.1", "controller.log.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    kept = [int(line) for file in reversed(files) for line in file.read_text().split()]
    assert kept == list(range(kept[0], 200))
    assert len(kept) > 30


def test_a_restarted_controller_goes_on_in_the_same_file(path: Path) -> None:
    for number in range(2):
        handler = BoundedFile(path, limit_bytes=1000)
        handler.emit(record(f"line {number}"))
        handler.close()
    assert path.read_text() == "line 0\nline 1\n"


def test_an_entry_has_a_largest_size() -> None:
    assert len(LineFormatter().format(record("x" * 1_000_000))) < 20_000


def test_a_file_that_cannot_be_written_raises_nothing_and_is_said_later(path: Path) -> None:
    path.mkdir()
    handler = BoundedFile(path)
    handler.emit(record("lost"))
    handler.emit(record("lost"))
    path.rmdir()
    handler.emit(record("kept"))
    handler.emit(record("kept too"))
    handler.close()
    assert path.read_text().splitlines() == [
        "kept",
        "(lines lost before this one, the file could not be written: 2)",
        "kept too",
    ]


FULL_DISK = """
import resource
import sys
from pathlib import Path
from fairlead import logs

path = Path(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
with logs.written_to(path):
    log = logs.room("test")
    for number in range(100):
        log.info("entry", number=number)
    assert path.stat().st_size <= 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.info("space again")
"""


def test_a_full_disk_raises_nothing_and_tears_no_line(path: Path) -> None:
    """A limit on the size of files stands in for the full disk."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    *entries, last, note = path.read_text().splitlines()
    assert [line.rpartition("=")[2] for line in entries] == [str(number) for number in range(len(entries))]
    assert "space again" in last
    assert note.endswith(f"could not be written: {100 - len(entries)})")


def test_without_a_controller_nothing_reaches_stderr() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from fairlead import logs; logs.room('cli').error('quiet')"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
