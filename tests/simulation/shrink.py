"""The smallest history found in which a seed breaks the same promise: what to read when a seed has failed.

Used by `__main__` and by the tests of seeds. Injections are left out as long as the promise stays broken: first every
fault of one kind, then ever smaller parts of what is left (delta debugging; Zeller and Hildebrandt, 2002).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.rehearsal import Injection, Rehearsal
from tests.simulation.sim import Result, run_seed

MOST_RUNS = 300
MOST_EVENTS_IN_ALL = 2_000_000
"""When to be content with what has been found."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """``result`` has the trace; ``done`` of ``before`` injections are left in it; ``runs`` were tried."""

    result: Result
    done: tuple[Injection, ...]
    before: int
    runs: int


class _Search:
    """``best``: the fewest injections so far with which the promise ``rule`` is broken."""

    def __init__(self, whole: Rehearsal, rule: str, most_runs: int) -> None:
        self.rule = rule
        self.most_runs = most_runs
        self.nearest = whole
        self.best = whole.done
        self.runs = 0
        self.events = 0

    @property
    def is_over(self) -> bool:
        return self.runs >= self.most_runs or self.events >= MOST_EVENTS_IN_ALL

    def leave_out(self, some: set[Injection]) -> bool:
        """Whether the promise is still broken without ``some``; then they are gone for good."""
        left = [injection for injection in self.best if injection not in some]
        rehearsal = Rehearsal(self.nearest.seed, left, self.nearest)
        result = run_seed(rehearsal.seed, rehearsal=rehearsal)
        self.runs += 1
        self.events += result.events
        if result.rule != self.rule or len(rehearsal.done) >= len(self.best):
            return False
        self.nearest, self.best = rehearsal, rehearsal.done
        return True

    def kinds(self) -> None:
        """Leave out whole kinds, the most frequent one first."""
        kinds = [kind for kind, _ in self.best]
        for kind in sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind)):
            if self.is_over:
                return
            self.leave_out({injection for injection in self.best if injection[0] == kind})

    def parts(self) -> None:
        """Leave out halves, quarters and so on, down to single ones, until none of them can be missed."""
        size = max(len(self.best) // 2, 1)
        while self.best and not self.is_over:
            if not self._parts_of(size) and size == 1:
                return
            size = max(min(size, len(self.best)) // 2, 1)

    def _parts_of(self, size: int) -> bool:
        """Whether any part of so many could be left out."""
        found, at = False, 0
        while at < len(self.best) and not self.is_over:
            if self.leave_out(set(self.best[at : at + size])):
                found = True
            else:
                at += size
        return found


def shrink(failed: Result, most_runs: int = MOST_RUNS) -> Shrunk:
    """The smallest history found that breaks the promise which ``failed`` broke."""
    whole = Rehearsal(failed.seed)
    run_seed(failed.seed, rehearsal=whole)
    before = len(whole.done)
    search = _Search(whole, failed.rule, most_runs)
    search.kinds()
    search.parts()
    result = run_seed(failed.seed, traced=True, rehearsal=Rehearsal(failed.seed, search.best, search.nearest))
    return Shrunk(result, tuple(search.best), before, search.runs)


def told(failed: Result, most_runs: int = MOST_RUNS) -> str:
    """What a person needs to know of a seed that failed: seed, commit, promise, the smallest history found."""
    small = shrink(failed, most_runs)
    return "\n".join(
        (
            f"seed {failed.seed} at commit {commit()}: {failed.failure}",
            f"smallest history found: {len(small.done)} of {small.before} injections left after {small.runs} tries",
            *small.result.trace,
            f"the whole history: python -m tests.simulation --trace {failed.seed}",
        )
    )


def commit() -> str:
    """The commit of the code that runs; where it is not that of a commit, that is said too."""
    argv = ["git", "describe", "--always", "--dirty=, changed", "--exclude=*"]
    try:
        done = subprocess.run(argv, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
