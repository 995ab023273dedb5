"""Frames between the engine and its keeper: a length, then one marshalled dictionary.

Both ends are the same interpreter of the same user on one machine and the socket lies in a directory of mode
0700, so `marshal` is safe here; it is built in and costs the keeper no import.
"""

from __future__ import annotations

import marshal
from typing import Any

PROTOCOL = 1
SOCKET = "keeper.sock"
LOCK = "keeper.lock"
HEADER_BYTES = 4
MAX_FRAME_BYTES = 16 * 1024 * 1024

Message = dict[str, Any]


def pack(message: Message) -> bytes:
    body = marshal.dumps(message, 2)
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def unpack(buffer: bytearray) -> Message | None:
    """Take the first whole frame off ``buffer``; None: there is none yet.

    :raises ValueError: the frame is longer than anything either end ever sends.
    """
    if len(buffer) < HEADER_BYTES:
        return None
    length = int.from_bytes(buffer[:HEADER_BYTES], "little")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    end = HEADER_BYTES + length
    if len(buffer) < end:
        return None
    message: Message = marshal.loads(bytes(buffer[HEADER_BYTES:end]))
    del buffer[:end]
    return message
