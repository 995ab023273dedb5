"""Time, chance and the record of what happened: one heap of events that everything else hangs on.

Used by every module of the simulation. Time jumps from event to event; nothing sleeps and nothing reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

START_S = 1_000_000.0
MOST_EVENTS = 200_000


class Violation(AssertionError):
    """A promise was broken. ``rule`` names it in one word with dashes."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


class Crash(BaseException):
    """The controller that is running dies here and now."""


class World:
    """The event heap, ordered by time, then by a random tie-break, then by sequence."""

    def __init__(self, seed: int, *, traced: bool, rng: Random) -> None:
        self.seed = seed
        self.now_s = START_S
        self.rng = rng
        self.trace: list[str] | None = [] if traced else None
        self.last_injection_s = 0.0
        self.events = 0
        self._heap: list[tuple[float, float, int, Callable[[], None]]] = []
        self._sequence = 0

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let ``action`` happen ``delay_s`` from now."""
        self._sequence += 1
        heappush(self._heap, (self.now_s + delay_s, self.rng.random(), self._sequence, action))

    def next(self, until_s: float) -> Callable[[], None] | None:
        """The next event's action, the time moved on to it; None when there is none until ``until_s``."""
        if not self._heap or self._heap[0][0] > until_s:
            self.now_s = max(self.now_s, until_s)
            return None
        moment_s, _, _, action = heappop(self._heap)
        if moment_s > self.now_s:
            self.now_s = moment_s
        self.events += 1
        if self.events > MOST_EVENTS:
            raise Violation("endless", f"more than {MOST_EVENTS} events, at {self.now_s - START_S:.3f} s")
        return action

    def say(self, who: str, what: str) -> None:
        """One line of the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.now_s - START_S:10.3f}  {who:<10} {what}")

    def injected(self, what: str) -> None:
        """The injector did something: what follows from it is not the controller's doing."""
        self.last_injection_s = self.now_s
        self.say("fault", what)

    def between(self, low_s: float, high_s: float) -> float:
        return low_s + (high_s - low_s) * self.rng.random()
