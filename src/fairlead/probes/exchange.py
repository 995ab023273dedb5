"""One GET over one connection, as far as a probe needs it: the status and where a redirect leads.

Called by `http`. On plain sockets, because an http client library costs the controller several times as much a probe,
and with many replicas the probes are most of what it does at rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from fairlead.probes.tcp import connected, shown
from fairlead.routing import Address, Reach

LARGEST_HEAD_BYTES = 64 * 1024
_READ_BYTES = 16 * 1024
_AS_WRITTEN = "/%:?[]@!$&'()*+,;=~"
_DEFAULTS = {"User-Agent": "fairlead-probe", "Accept": "*/*", "Connection": "close"}


class NoAnswerError(Exception):
    """The connection ended before a byte of an answer."""


class BadAnswerError(Exception):
    """What came is no answer in HTTP; the text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """``location``: of a redirect, None where the answer names none."""

    status: int
    location: str | None


async def get(address: Address, path: str, headers: Mapping[str, str]) -> Head:
    """Ask for ``path`` (which may have a query) and read the head of the answer, and no more.

    :raises OSError: there is no connection, or it broke.
    :raises NoAnswerError: it was closed without a word.
    :raises BadAnswerError: the answer is no HTTP.
    :raises ValueError: a header has a line end in it.
    """
    request = _request(address, path, headers)
    loop = asyncio.get_running_loop()
    async with connected(address) as connection:
        await loop.sock_sendall(connection, request)
        return await _head(partial(loop.sock_recv, connection, _READ_BYTES))


async def get_through(reach: Reach, address: Address, path: str, headers: Mapping[str, str], timeout_s: float) -> Head:
    """As :func:`get`, of a replica that cannot be reached from here."""
    parts = iter([await reach(address, _request(address, path, headers), timeout_s)])

    async def part() -> bytes:
        return next(parts, b"")

    return await _head(part)


def _request(address: Address, path: str, headers: Mapping[str, str]) -> bytes:
    given = {name.lower() for name in headers}
    fields = {name: value for name, value in _DEFAULTS.items() if name.lower() not in given}
    if "host" not in given:
        fields["Host"] = shown(address)
    lines = [f"{name}: {value}" for name, value in (fields | dict(headers)).items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header of the probe has a line end in it")
    target = quote(path.partition("#")[0], safe=_AS_WRITTEN)
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode()


async def _head(part: Callable[[], Awaitable[bytes]]) -> Head:
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end:
            found = _parsed(head)
            if not 100 <= found.status < 200 or found.status == 101:
                return found
            data = rest  # an interim answer; the real one follows
            continue
        if data[:5] != b"HTTP/"[: len(data)]:
            raise BadAnswerError(f"it begins with {data[:40]!r}")
        if len(data) > LARGEST_HEAD_BYTES:
            raise BadAnswerError(f"a head of more than {LARGEST_HEAD_BYTES // 1024} KiB")
        more = await part()
        if not more:
            if data:
                raise BadAnswerError("the connection was closed inside the head")
            raise NoAnswerError
        data += more


def _parsed(head: bytes) -> Head:
    status_line, *fields = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    digits = rest[:3]
    if not version.startswith("HTTP/1.") or len(digits) < 3 or not digits.isascii() or not digits.isdigit():
        raise BadAnswerError(f"it begins with {status_line[:40]!r}")
    named = (field.partition(":") for field in fields)
    location = next((value.strip() for name, _, value in named if name.strip().lower() == "location"), None)
    return Head(int(digits), location)
