"""How routes, endpoints and listeners are called inside HAProxy, and the way back.

Used by `layout`, `pool` and `status`. HAProxy allows letters, digits and ``-_.:`` in a name; everything else,
the colon included, is written ``:xx`` (two hex digits a byte), so that two different ids never share a name.
"""

from __future__ import annotations

import re

from fairlead.routing import Listen

STREAMS_TABLE = "fl-streams"
_PLAIN = re.compile(rb"[A-Za-z0-9_.-]")
_CODED = re.compile(r":([0-9a-f]{2})")


def quoted(name: str) -> str:
    """``name`` as HAProxy takes it; :func:`unquoted` is the exact inverse."""
    raw = name.encode()
    return "".join(chr(byte) if _PLAIN.match(bytes([byte])) else f":{byte:02x}" for byte in raw)


def unquoted(name: str) -> str:
    raw = _CODED.sub(lambda match: chr(int(match[1], 16)), name)
    return raw.encode("latin-1").decode()


def frontend_name(listen: Listen) -> str:
    """One frontend an address: ``any-8080``, ``127.0.0.1-8080``."""
    return f"{quoted(listen.host or 'any')}-{listen.port}"
