"""The one place that reads a clock. Everything that decides takes time as an argument instead.

Made once by whoever starts the controller and handed to its rooms; the simulator hands them its own.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings in seconds: the wall's, to show and to store, and one that only grows, to measure with."""

    def now_s(self) -> float:
        """Seconds since the epoch. May jump either way."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some moment of this machine's uptime. Never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


class SteadyClock:
    """Wall time as it was at the start, carried on by the clock that only grows.

    Deadlines are stored as wall time, so that they outlive a controller; a wall clock that is set in between must
    not make them expire at once or never.
    """

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        return self._offset_s + time.monotonic()

    def monotonic_s(self) -> float:
        return time.monotonic()
