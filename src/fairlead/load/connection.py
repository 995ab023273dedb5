"""One HTTP/1.1 connection that never retries: whatever goes wrong on it is raised as a :class:`Fault`.

Used by `pool`, `requests`, `streams` and `websocket`. Written out here, because how exactly a connection ended is what
the load client is asked to tell.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from fairlead.load.report import FailureKind, Fault

_HEAD_LIMIT_BYTES = 64 * 1024
_BODY_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Status line and header fields; field names are in lower case."""

    status: int
    fields: Mapping[str, str]

    @property
    def keeps_alive(self) -> bool:
        return self.fields.get("connection", "").lower() != "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


class Connection:
    """One request after the other; `reader` and `writer` are free to take over after an upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.reader = reader
        self.writer = writer
        self.used = 0
        self.idle_since_s = time.monotonic()
        self._host = host
        self._poll = select.poll()
        self._poll.register(writer.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=_HEAD_LIMIT_BYTES)
        except OSError as error:
            raise Fault(FailureKind.CONNECT, f"{host}:{port}: {error.strerror or error}") from error
        return cls(reader, writer, f"{host}:{port}")

    def is_fit(self) -> bool:
        """Whether the server still keeps this idle connection: anything to read on it means that it does not."""
        if self.reader.at_eof() or self.writer.is_closing():
            return False
        return not self._poll.poll(0)

    async def ask(self, method: str, target: str, fields: Mapping[str, str], body: bytes = b"") -> Answer:
        """One request, its whole answer."""
        self.send(method, target, fields, body)
        head = await self.head()
        try:
            return Answer(head=head, body=b"".join([part async for part in self.body(head)]))
        except Fault as fault:
            # Whose answer it was tells one that died with its server from one that was lost on the way.
            raise Fault(fault.kind, fault.cause, head.fields.get("x-replica", "")) from fault

    def send(self, method: str, target: str, fields: Mapping[str, str], body: bytes = b"") -> None:
        self.used += 1
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    async def head(self) -> Head:
        """The next final head; interim ones (1xx but 101) are passed over."""
        while True:
            head = _parse(await self._read_head())
            if head.status == 101 or head.status >= 200:
                return head

    async def body(self, head: Head) -> AsyncIterator[bytes]:
        """The body in the parts it comes in; ends with the body, raises if the connection ends first."""
        if head.status in (204, 304):
            return
        if head.fields.get("transfer-encoding", "").lower() == "chunked":
            async for chunk in self._chunks():
                yield chunk
        elif "content-length" in head.fields:
            yield await self._exactly(_number(head.fields["content-length"], 10))
        else:
            yield await self._until_closed()

    def close(self) -> None:
        self.writer.close()

    async def _read_head(self) -> bytes:
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Fault(FailureKind.TRUNCATED, "the connection ended inside the head") from error
            raise Fault(FailureKind.DISCONNECTED, f"no answer to request {self.used} of this connection") from error
        except asyncio.LimitOverrunError as error:
            raise Fault(FailureKind.PROTOCOL, f"a head of more than {_HEAD_LIMIT_BYTES} bytes") from error
        except OSError as error:
            cause = f"{error.strerror or error} at request {self.used} of this connection"
            raise Fault(FailureKind.DISCONNECTED, cause) from error

    async def _exactly(self, size_bytes: int) -> bytes:
        try:
            return await self.reader.readexactly(size_bytes)
        except asyncio.IncompleteReadError as error:
            cause = f"the connection ended after {len(error.partial)} of {size_bytes} bytes"
            raise Fault(FailureKind.TRUNCATED, cause) from error
        except OSError as error:
            raise Fault(FailureKind.TRUNCATED, f"{error.strerror or error} inside the body") from error

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size_bytes := _number((await self._line()).partition(b";")[0].decode("latin-1"), 16):
            chunk = await self._exactly(size_bytes + 2)
            if not chunk.endswith(b"\r\n"):
                raise Fault(FailureKind.PROTOCOL, "a chunk that does not end where it says")
            yield chunk[:-2]
        while await self._line():  # trailers
            pass

    async def _line(self) -> bytes:
        try:
            return (await self.reader.readuntil(b"\r\n"))[:-2]
        except asyncio.IncompleteReadError as error:
            raise Fault(FailureKind.TRUNCATED, "the connection ended between two chunks") from error
        except asyncio.LimitOverrunError as error:
            raise Fault(FailureKind.PROTOCOL, "a chunk's size that is no line") from error
        except OSError as error:
            raise Fault(FailureKind.TRUNCATED, f"{error.strerror or error} between two chunks") from error

    async def _until_closed(self) -> bytes:
        try:
            return await self.reader.read(_BODY_LIMIT_BYTES)
        except OSError as error:
            raise Fault(FailureKind.TRUNCATED, f"{error.strerror or error} inside the body") from error


def _parse(raw: bytes) -> Head:
    status_line, *lines = raw[:-4].decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
        raise Fault(FailureKind.PROTOCOL, f"not a status line: {status_line[:80]!r}")
    fields = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Fault(FailureKind.PROTOCOL, f"not a header field: {line[:80]!r}")
        fields[name.lower()] = value.strip()
    if version == "HTTP/1.0":
        fields.setdefault("connection", "close")
    return Head(status=int(rest[:3]), fields=fields)


def _number(text: str, base: int) -> int:
    try:
        number = int(text, base)
    except ValueError as error:
        raise Fault(FailureKind.PROTOCOL, f"not a size: {text[:40]!r}") from error
    if not 0 <= number <= _BODY_LIMIT_BYTES:
        raise Fault(FailureKind.PROTOCOL, f"a size of {number} bytes")
    return number
