"""Read what the keeper wrote: the last lines, and what comes, across rotations. Used by `engine`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from fairlead.engines.base import LogLine

POLL_S = 0.1
STAMP_BYTES = 24
MAX_FILES = 1000
READ_BYTES = 256 * 1024


def parse(replica_id: str, line: bytes) -> LogLine | None:
    """One line of a log file; None: it was cut by a full disk and is no whole line."""
    stamp, _, rest = line.decode(errors="replace").partition(" ")
    stream, _, text = rest.partition(" ")
    if len(stamp) != STAMP_BYTES or stream not in ("stdout", "stderr"):
        return None
    try:
        time_s = datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None
    return LogLine(replica_id=replica_id, stream=stream, time_s=time_s, text=text)


class LogReader:
    """Reads one replica's files in their order, each to its end before the next."""

    def __init__(self, replica_id: str, path: Path) -> None:
        self._replica_id = replica_id
        self._path = path
        self._file: BinaryIO | None = None
        self._partial = b""

    def history(self, tail: int | None) -> list[LogLine]:
        """The last ``tail`` lines that are kept (None: all), oldest first; reading goes on behind them."""
        older = list(self._rotated())
        with contextlib.suppress(FileNotFoundError):
            self._file = self._path.open("rb")
        found: list[LogLine] = []
        if self._file is not None:
            found, self._partial = self._last_lines(self._file, tail)
        for path in older:
            if tail is not None and len(found) >= tail:
                break
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                if not self._is_open(file):
                    lines, _ = self._last_lines(file, None if tail is None else tail - len(found))
                    found = lines + found
        return found

    def more(self) -> list[LogLine]:
        """What has come since, as far as it is there."""
        found: list[LogLine] = []
        while True:
            if self._file is None:
                try:
                    self._file = self._path.open("rb")
                except FileNotFoundError:
                    return found
            # Asked before reading: a file that has been renamed gets no more lines once it was read to its end.
            rotated = self._next_path()
            found += self._take(self._file.read(READ_BYTES))
            if rotated is None or self._file.tell() < os.fstat(self._file.fileno()).st_size:
                return found
            self._file.close()
            self._file = rotated.open("rb")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _next_path(self) -> Path | None:
        """The file after the one that is open; None: it is the newest."""
        assert self._file is not None
        mine = os.fstat(self._file.fileno()).st_ino
        newer = self._path
        for path in (self._path, *self._rotated()):
            try:
                if path.stat().st_ino == mine:
                    return None if path == self._path else newer
            except FileNotFoundError:
                if path == self._path:
                    return None
            newer = path
        return self._path

    def _rotated(self) -> Iterator[Path]:
        for number in range(1, MAX_FILES):
            path = self._path.with_name(f"{self._path.name}.{number}")
            if not path.exists():
                return
            yield path

    def _is_open(self, file: BinaryIO) -> bool:
        """Whether the log rotated just now, so that ``file`` is the one that was opened as the newest."""
        return self._file is not None and os.path.sameopenfile(self._file.fileno(), file.fileno())

    def _last_lines(self, file: BinaryIO, wanted: int | None) -> tuple[list[LogLine], bytes]:
        """The last ``wanted`` lines and what follows them, read backwards; ``file`` is left at its end."""
        start, data = file.seek(0, os.SEEK_END), b""
        size = start
        while start > 0 and (wanted is None or data.count(b"\n") <= wanted):
            length = min(READ_BYTES, start)
            start -= length
            file.seek(start)
            data = file.read(length) + data
        file.seek(size)
        if start > 0:
            data = data.partition(b"\n")[2]
        *whole, rest = data.split(b"\n")
        lines = [line for raw in whole if (line := parse(self._replica_id, raw))]
        return (lines if wanted is None else lines[max(len(lines) - wanted, 0) :]), rest

    def _take(self, data: bytes) -> list[LogLine]:
        *whole, self._partial = (self._partial + data).split(b"\n")
        return [line for raw in whole if (line := parse(self._replica_id, raw))]


async def read_log(replica_id: str, path: Path, *, follow: bool, tail: int | None) -> AsyncIterator[LogLine]:
    """The lines that are there, then, with ``follow``, what comes until the run directory is gone."""
    reader = LogReader(replica_id, path)
    try:
        for line in await asyncio.to_thread(reader.history, tail):
            yield line
        while follow:
            removed = not path.parent.exists()
            for line in await asyncio.to_thread(reader.more):
                yield line
            if removed:
                return
            await asyncio.sleep(POLL_S)
    finally:
        reader.close()
