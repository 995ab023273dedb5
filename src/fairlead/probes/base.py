"""The port for one health check, and what it returns.

Called by `controller.health`, which runs probes on their intervals and feeds `probes.judge`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fairlead.engines.base import CommandResult
from fairlead.routing import Address

RunCommand = Callable[[Sequence[str], float], Awaitable[CommandResult]]
"""Runs a command where the replica runs: ``(argv, timeout_s)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """What a probe goes to. ``address`` None: the replica opens no port."""

    replica_id: str
    address: Address | None
    run: RunCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One attempt. ``reason`` says in words what was seen, passed or not."""

    passed: bool
    reason: str
    duration_s: float
