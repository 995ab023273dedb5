"""The client's end of a websocket (RFC 6455), just enough to echo and to tell exactly how it ended.

Used by `streams`. A close frame of the server and a broken connection are two different failures.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import struct

from fairlead.load.connection import Connection
from fairlead.load.report import FailureKind, Fault

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_FINAL = 0x80
_LARGEST_FRAME_BYTES = 1024 * 1024


class WebSocket:
    """An open websocket of one :class:`Connection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, connection: Connection, target: str) -> WebSocket:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        }
        connection.send("GET", target, fields)
        head = await connection.head()
        if head.status != 101:
            raise Fault(FailureKind.STATUS, f"status {head.status} instead of 101")
        digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
        if head.fields.get("sec-websocket-accept") != base64.b64encode(digest).decode():
            raise Fault(FailureKind.NONCE, "the handshake answers somebody else's key")
        return cls(connection)

    def send(self, text: str) -> None:
        self._frame(_TEXT, text.encode())

    async def receive(self) -> bytes:
        """The next text message; pings are answered on the way.

        :raises Fault: ``CLOSED`` with the server's code and reason, ``CUT`` when the connection broke off.
        """
        while True:
            opcode, payload = await self._read()
            if opcode == _TEXT:
                return payload
            if opcode == _PING:
                self._frame(_PONG, payload)
            elif opcode == _CLOSE:
                self._frame(_CLOSE, payload[:2])
                raise Fault(FailureKind.CLOSED, f"the server closed it: {_reason(payload)}")
            elif opcode != _PONG:
                raise Fault(FailureKind.PROTOCOL, f"a frame with opcode {opcode}")

    def say_goodbye(self) -> None:
        """Our own deadline came: a close frame; the connection is closed by its owner."""
        self._frame(_CLOSE, struct.pack("!H", 1000))

    async def _read(self) -> tuple[int, bytes]:
        reader = self._connection.reader
        try:
            first, second = await reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await reader.readexactly(8))
            if second & 0x80 or not first & _FINAL or length > _LARGEST_FRAME_BYTES:
                raise Fault(FailureKind.PROTOCOL, "a masked, split or oversized frame")
            return first & 0x0F, await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise Fault(FailureKind.CUT, "the connection ended without a close frame") from error
        except OSError as error:
            raise Fault(FailureKind.CUT, f"{error.strerror or error}") from error

    def _frame(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        head = struct.pack("!BB", _FINAL | opcode, 0x80 | length) if length < 126 else b""
        head = head or struct.pack("!BBH", _FINAL | opcode, 0x80 | 126, length)
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._connection.writer.write(head + mask + masked)


def _reason(payload: bytes) -> str:
    if len(payload) < 2:
        return "no code"
    (code,) = struct.unpack("!H", payload[:2])
    text = payload[2:].decode(errors="replace")
    return f"{code} {text}".strip()
