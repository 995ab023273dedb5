"""Turn text into numbers, sizes and durations as Compose does, and numbers back into its text.

Compose is a Go program: what it accepts as an integer, a duration (``1h2m3.5s``) or a size (``1.5gb``), and how it
writes a float, follows that language. Every function raises :class:`ValueError` with words for the user.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from fairlead.spec.tree import Timestamp

_INT = re.compile(r"[-+]?[0-9]+\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_NANOSECONDS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000,
    "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?[iI]?[bB]?\Z", re.ASCII)
_MAX_INT64 = 2**63 - 1
_MAX_DIGITS = 100


def to_integer(text: str) -> int:
    if not _INT.match(text) or len(text) > _MAX_DIGITS:
        raise ValueError(f"{text!r} is not an integer")
    value = int(text)
    if not -(2**63) <= value <= _MAX_INT64:
        raise ValueError(f"{text} is out of range")
    return value


def to_float(text: str) -> float:
    lowered = text.lower().lstrip("+-")
    if _FLOAT.match(text) or lowered in ("inf", "infinity", "nan"):
        return float(text)
    raise ValueError(f"{text!r} is not a number")


def to_float32(text: str) -> float:
    return single(to_float(text))


def to_boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("true", "y", "yes", "on"):
        return True
    if lowered in ("false", "n", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def single(value: float) -> float:
    """``value`` in 32 bits, as the shortest decimal number that means the same."""
    try:
        packed = struct.pack("f", value)
    except OverflowError:
        raise ValueError(f"{value} is out of range") from None
    for digits in range(1, 10):
        shorter = float(f"{value:.{digits}g}")
        if struct.pack("f", shorter) == packed:
            return shorter
    return float(struct.unpack("f", packed)[0])


def nanoseconds(value: Any) -> int:
    """The duration that Go reads from ``value``: ``1h30m``, ``0``, ``1.5s``; never a bare number."""
    text = go_text(value)
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"{text[:40]!r}… is not a duration such as 30s, 1m30s or 500ms")
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0
    total, position = 0, 0
    while position < len(unsigned):
        part = _DURATION_PART.match(unsigned, position)
        if part is None or not (part[1] or part[2]):
            break
        unit = _NANOSECONDS[part[3]]
        fraction = part[2] or ""
        total += int(part[1] or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        position = part.end()
    if not unsigned or position != len(unsigned) or total > _MAX_INT64:
        raise ValueError(f"{text!r} is not a duration such as 30s, 1m30s or 500ms")
    return -total if text[0] == "-" else total


def duration_text(total: int) -> str:
    """``1m30s``, ``1.5ms``, ``0s``: the canonical text of nanoseconds."""
    if total == 0:
        return "0s"
    sign, left = ("-", -total) if total < 0 else ("", total)
    if left < 1_000_000_000:
        for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
            if left < size * 1000:
                return sign + _decimal(left, size) + unit
    hours, left = divmod(left, _NANOSECONDS["h"])
    minutes, left = divmod(left, _NANOSECONDS["m"])
    seconds = _decimal(left, _NANOSECONDS["s"]) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _decimal(amount: int, size: int) -> str:
    whole, rest = divmod(amount, size)
    fraction = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def byte_count(text: str) -> int:
    """``64m``, ``1.5GiB``, ``1024``, ``-1``: the number of bytes; units are powers of 1024."""
    if text.startswith("-"):
        raise ValueError(f"{text!r} is negative; a size is a number with an optional unit such as 512m or 2g")
    match = _SIZE.match(text) if len(text) <= _MAX_DIGITS else None
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512m or 2g")
    number = float(match[1])
    power = "kmgtp".index(match[2].lower()) + 1 if match[2] else 0
    amount = number * 1024**power
    if math.isinf(amount) or amount > _MAX_INT64:
        raise ValueError(f"{text!r} is out of range")
    return int(amount)


def go_text(value: Any) -> str:
    """``value`` as Go prints it inside a string."""
    if isinstance(value, Timestamp):
        return value.shown
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, list):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    return str(value)


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    exponent = math.floor(math.log10(abs(value))) if value else 0
    if exponent < -4 or exponent >= 6:
        return next(text for digits in range(18) if float(text := f"{value:.{digits}e}") == value)
    if value == int(value):
        return str(int(value)) if value or math.copysign(1, value) > 0 else "-0"
    return repr(value)
