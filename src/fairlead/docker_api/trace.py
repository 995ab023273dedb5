"""BuildKit's progress, which the daemon sends as protocol buffers, as lines for a person.

Called by `build`. Only three fields matter (a step's name, its error, its output), so the few bytes are read here
rather than with a generated schema: field numbers are those of BuildKit's `StatusResponse`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

_VERTEX, _LOG = 1, 4
_VERTEX_DIGEST, _VERTEX_NAME, _VERTEX_CACHED, _VERTEX_STARTED, _VERTEX_ERROR = 1, 3, 4, 5, 7
_LOG_TEXT = 4
REMEMBERED_LINES = 20

Value = int | bytes


class Trace:
    """Turns messages into lines, each step once, and remembers the last ones for an error."""

    def __init__(self) -> None:
        self._named: set[bytes] = set()
        self._last: deque[str] = deque(maxlen=REMEMBERED_LINES)

    def lines(self, message: bytes) -> Iterator[str]:
        for number, value in _fields(message):
            if not isinstance(value, bytes):
                continue
            for line in self._vertex(value) if number == _VERTEX else self._log(value) if number == _LOG else ():
                self._last.append(line)
                yield line

    def remember(self, text: str) -> None:
        self._last.extend(text.splitlines())

    def tail(self) -> str:
        """The last lines, to stand below an error."""
        return "".join(f"\n    {line}" for line in self._last)

    def _vertex(self, message: bytes) -> Iterator[str]:
        fields = dict(_fields(message))
        digest, name = _bytes(fields.get(_VERTEX_DIGEST)), _text(fields.get(_VERTEX_NAME))
        begun = _VERTEX_STARTED in fields or fields.get(_VERTEX_CACHED)
        if begun and digest not in self._named:
            self._named.add(digest)
            yield f"{name} (cached)" if fields.get(_VERTEX_CACHED) else name
        if error := _text(fields.get(_VERTEX_ERROR)):
            yield error

    @staticmethod
    def _log(message: bytes) -> Iterator[str]:
        yield from _text(dict(_fields(message)).get(_LOG_TEXT)).splitlines()


def _bytes(value: Value | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: Value | None) -> str:
    return _bytes(value).decode(errors="replace").strip()


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of one message: number and value; a damaged rest is left out."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            integer, position = _varint(message, position)
            yield number, integer
        elif kind == 2:
            length, position = _varint(message, position)
            yield number, message[position : position + length]
            position += length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            return


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
    return value, position
