"""What a service asks for in memory, CPU, processes and log size, in plain numbers. Pure; called by `engine`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.errors import StartFailedError
from fairlead.spec.model import Resources, Service

DEFAULT_LOG = (10_000_000, 3)
NO_LOG = (0, 0)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None: no limit."""

    memory_bytes: int | None = None
    memory_low_bytes: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    pids: int | None = None

    def __bool__(self) -> bool:
        return self != Limits()


def limits_of(service: Service) -> Limits:
    """`deploy.resources` first, then the short keys of a service."""
    limits = service.deploy.limits or Resources()
    reservations = service.deploy.reservations or Resources()
    extra = service.extra
    return Limits(
        memory_bytes=limits.memory_bytes or _bytes(service, "mem_limit"),
        memory_low_bytes=reservations.memory_bytes or _bytes(service, "mem_reservation"),
        cpus=limits.cpus or _number(service, "cpus") or _quota(extra),
        cpu_shares=_positive(_number(service, "cpu_shares")),
        pids=limits.pids or _positive(_number(service, "pids_limit")),
    )


def rotation_of(service: Service) -> tuple[int, int]:
    """`logging.options`: bytes a file and number of files; ``(0, 0)`` keeps nothing."""
    logging = service.logging
    if logging is None:
        return DEFAULT_LOG
    if logging.driver == "none":
        return NO_LOG
    size, count = logging.options.get("max-size"), logging.options.get("max-file")
    try:
        max_bytes = DEFAULT_LOG[0] if size is None else parse_size(size, 1000)
        return max(max_bytes, 1), max(int(count) if count is not None else DEFAULT_LOG[1], 1)
    except ValueError as error:
        raise StartFailedError(f"{service.name}: logging.options: {error}") from error


def parse_size(text: str, kilo: int) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size (write 10m, 1g …)")
    return int(float(match[1]) * kilo ** _EXPONENTS[match[2].lower()])


def _bytes(service: Service, key: str) -> int | None:
    value = service.extra.get(key)
    if value is None:
        return None
    try:
        return _positive(value if isinstance(value, int) else parse_size(str(value), 1024))
    except ValueError as error:
        raise StartFailedError(f"{service.name}: {key}: {error}") from error


def _number(service: Service, key: str) -> float | None:
    value = service.extra.get(key)
    if value is None:
        return None
    try:
        return float(value) or None
    except (TypeError, ValueError) as error:
        raise StartFailedError(f"{service.name}: {key}: {value!r} is no number") from error


def _quota(extra: Mapping[str, Any]) -> float | None:
    quota = extra.get("cpu_quota")
    if not isinstance(quota, int) or quota <= 0:
        return None
    period = extra.get("cpu_period")
    return quota / (period if isinstance(period, int) and period > 0 else 100_000)


def _positive(value: float | None) -> int | None:
    return int(value) if value is not None and value > 0 else None
