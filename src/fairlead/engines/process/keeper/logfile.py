# pathlib would add a megabyte to what the keeper costs.
# ruff: noqa: PTH104, PTH108
"""One replica's log: lines with their time and stream, in files that rotate. Used by `keeper.main`.

A full disk costs lines, counted and said in the log once there is room again; it never stops a replica.
"""

from __future__ import annotations

import os
import time

MAX_LINE_BYTES = 16 * 1024
READ_BYTES = 64 * 1024
READS_A_TURN = 16


class LogFile:
    """Appends to ``path``; past ``max_bytes`` it becomes ``path.1``, and so on, ``max_files`` in all."""

    def __init__(self, path: str, max_bytes: int, max_files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._fd = -1
        self._size_bytes = 0
        self._lost_lines = 0

    def append(self, stream: str, lines: list[bytes]) -> None:
        if self._max_files == 0:
            return
        prefix = f"{stamp(time.time())} {stream} ".encode()
        if self._lost_lines and self._write(f"{stamp(time.time())} stderr {self._lost_message()}\n".encode()):
            self._lost_lines = 0
        for chunk, count in self._chunks([prefix + line + b"\n" for line in lines]):
            if not self._write(chunk):
                self._lost_lines += count

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _chunks(self, lines: list[bytes]) -> list[tuple[bytes, int]]:
        """``lines`` in pieces of which each fits into one file, with how many lines each has."""
        chunks: list[tuple[bytes, int]] = []
        room, first, size = self._max_bytes - self._size_bytes, 0, 0
        for at, line in enumerate(lines):
            if size and size + len(line) > room:
                chunks.append((b"".join(lines[first:at]), at - first))
                room, first, size = self._max_bytes, at, 0
            size += len(line)
        return [*chunks, (b"".join(lines[first:]), len(lines) - first)]

    def _lost_message(self) -> str:
        return f"fairlead: {self._lost_lines} lines of this log were lost: it could not be written"

    def _write(self, data: bytes) -> bool:
        """True if all of ``data`` is in the file; half a write is taken back, so that lines stay whole."""
        try:
            self._open()
            if self._size_bytes and self._size_bytes + len(data) > self._max_bytes:
                self._rotate()
                self._open()
            if os.write(self._fd, data) != len(data):
                os.ftruncate(self._fd, self._size_bytes)
                return False
        except OSError:
            return False
        self._size_bytes += len(data)
        return True

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size_bytes = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        if self._max_files < 2:
            os.unlink(self._path)
            return
        for number in range(self._max_files - 2, 0, -1):
            try:
                os.rename(f"{self._path}.{number}", f"{self._path}.{number + 1}")
            except FileNotFoundError:
                continue
        os.rename(self._path, f"{self._path}.1")


class Stream:
    """The reading end of one of a replica's two pipes."""

    def __init__(self, fd: int, name: str, log: LogFile) -> None:
        self.fd = fd
        self.name = name
        self.log = log
        self.ended = False
        self._partial = b""

    def drain(self) -> bool:
        """Move what is there into the log, a bounded amount at a time; True if there was anything."""
        read_any = False
        for _ in range(READS_A_TURN):
            try:
                data = os.read(self.fd, READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                self.ended = True
                break
            read_any = True
            self._take(data)
        return read_any

    def flush(self) -> None:
        """Write what has come without an end of line; nothing more is expected."""
        if self._partial:
            self.log.append(self.name, [self._partial])
            self._partial = b""

    def close(self) -> None:
        self.flush()
        os.close(self.fd)

    def _take(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        while len(self._partial) > MAX_LINE_BYTES:
            lines.append(self._partial[:MAX_LINE_BYTES])
            self._partial = self._partial[MAX_LINE_BYTES:]
        if lines:
            self.log.append(self.name, lines)


def stamp(now_s: float) -> str:
    """``2026-11-21T02:39:12.123Z``: 24 characters, UTC."""
    milliseconds = int(now_s * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}Z"
