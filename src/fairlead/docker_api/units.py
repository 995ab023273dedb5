"""Numbers of a Compose file, written as numbers or as text, in the API's units.

Called by `limits`, `mounts` and `body`: keys without a typed place in the model arrive as the file wrote them.
"""

from __future__ import annotations

import re
from typing import Any

from fairlead.errors import StartFailedError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def size_bytes(value: Any) -> int:
    """``64m``, ``1.5g``, ``67108864`` or a number, in bytes; -1 (no limit) stays."""
    if isinstance(value, (int, float)):
        return int(value)
    text = str(value).strip()
    if text == "-1":
        return -1
    if match := _SIZE.fullmatch(text):
        return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])
    raise StartFailedError(f"{value!r} is no size in bytes", hint="write 512m, 1g or a number of bytes")


def duration_s(value: Any) -> float:
    """``1m30s`` or a number of seconds, in seconds."""
    if isinstance(value, (int, float)):
        return float(value)
    found = list(_DURATION.finditer(str(value)))
    if not found or "".join(match[0] for match in found) != str(value):
        raise StartFailedError(f"{value!r} is no duration", hint="write 10s or 1m30s")
    return sum(float(match[1]) * _DURATION_UNITS[match[2]] for match in found)


def nanoseconds(value_s: float | None) -> int:
    return 0 if value_s is None else round(value_s * 1e9)
