"""The controller's log: one line an entry, ``time level room message key=value``, in files that never grow for ever.

The controller's entry point runs inside ``written_to``; every room takes its logger from ``room``.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROOT = "fairlead"
_LIMIT_BYTES = 5 * 1024 * 1024
_FILES = 3
_LINE_LIMIT = 16 * 1024
_PLAIN = re.compile(r"[\w.,:;/@%+*=~^()\[\]{}<>#!?&|-]+")
_OWN_KEYWORDS = ("exc_info", "stack_info", "stacklevel", "extra")

# Without a controller (the command line), entries go nowhere instead of to stderr.
logging.getLogger(_ROOT).addHandler(logging.NullHandler())


class RoomLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose extra keyword arguments become ``key=value``: ``log.info("started", replica=replica_id)``."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        passed = {key: value for key, value in kwargs.items() if key in _OWN_KEYWORDS}
        fields = {key: value for key, value in kwargs.items() if key not in _OWN_KEYWORDS}
        return msg, passed | {"extra": {"fields": fields}}


def room(name: str) -> RoomLogger:
    """The logger of one room (``probes``, ``controller.execute``)."""
    return RoomLogger(logging.getLogger(f"{_ROOT}.{name}"), {})


@contextmanager
def written_to(path: Path, level: str = "info") -> Iterator[None]:
    """Everything of ``level`` and above goes to the files at ``path``, and nowhere else, until the end of the block.

    The log is not worth a controller's life: whatever goes wrong with the file is counted, and said in the
    first line that can be written again.
    """
    logger = logging.getLogger(_ROOT)
    handler = BoundedFile(path)
    handler.setFormatter(LineFormatter())
    before = (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        logger.removeHandler(handler)
        handler.close()


class LineFormatter(logging.Formatter):
    """One line an entry: control characters of messages and values are escaped, never printed."""

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        parts = [
            moment.replace("+00:00", "Z"),
            record.levelname,
            record.name.removeprefix(f"{_ROOT}."),
            _one_line(record.getMessage()),
            *(f"{key}={_value(value)}" for key, value in fields.items()),
        ]
        if record.exc_info:
            parts.append(f"traceback={_value(self.formatException(record.exc_info))}")
        text = " ".join(parts)
        return text if len(text) <= _LINE_LIMIT else f"{text[:_LINE_LIMIT]}…"


class BoundedFile(logging.Handler):
    """Appends whole lines to ``path``, which becomes ``path.1`` and then ``path.2`` at 5 MB.

    It writes each line with one system call and keeps no buffer, so that a full disk leaves nothing behind that
    could be written torn, late or twice.
    """

    def __init__(self, path: Path, limit_bytes: int = _LIMIT_BYTES) -> None:
        super().__init__()
        self._path = path
        self._limit_bytes = limit_bytes
        self._file: int | None = None
        self._size_bytes = 0
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except OSError:
            self._lost += 1
            self._let_go()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            self._let_go()
        finally:
            self.release()
        super().close()

    def _write(self, line: str) -> None:
        if self._lost:
            line = f"{line}\n(lines lost before this one, the file could not be written: {self._lost})"
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        if self._file is not None and self._size_bytes + len(data) > self._limit_bytes:
            self._rotate()
        if self._file is None:
            self._open()
        assert self._file is not None
        done = os.write(self._file, data)
        self._size_bytes += done
        if done < len(data):
            # The disk filled up within this line: take the torn part back.
            os.truncate(self._file, self._size_bytes - done)
            raise OSError("torn line")
        self._lost = 0

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size_bytes = os.fstat(self._file).st_size

    def _rotate(self) -> None:
        self._let_go()
        for number in range(_FILES - 1, 0, -1):
            source = self._numbered(number - 1)
            if source.exists():
                source.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1].replace('\\"', '"')


def _value(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())
