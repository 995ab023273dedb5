"""When a command that failed may be tried again, and when trying again is given up.

Used by `core`. An error that a retry may help is retried with backoff; one that it cannot help is final at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.errors import FairleadError
from fairlead.rollout.commands import Command

FIRST_S = 0.1
MOST_S = 5.0
MOST_ATTEMPTS = 10


class Retries:
    """Failed commands by project and key."""

    def __init__(self) -> None:
        self._failed: dict[str, dict[str, tuple[int, float]]] = {}

    def note(self, project: str, key: str, error: FairleadError | None, now_s: float) -> bool:
        """Remember an outcome; True when the error is final and the machine should hear of it.

        A final error is remembered too: whatever is asked for again under that key waits its turn.
        """
        failed = self._failed.setdefault(project, {})
        if error is None:
            failed.pop(key, None)
            return False
        attempts = failed.get(key, (0, 0.0))[0] + 1
        failed[key] = (attempts, now_s + min(FIRST_S * 2.0 ** min(attempts - 1, 20), MOST_S))
        return not error.retryable or attempts >= MOST_ATTEMPTS

    def is_due(self, project: str, key: str, now_s: float) -> bool:
        """Whether a command under ``key`` may be tried now."""
        entry = self._failed.get(project, {}).get(key)
        return entry is None or now_s >= entry[1]

    def next_at_s(self, project: str, *, after_s: float = 0.0) -> float | None:
        """The earliest time after ``after_s`` at which a failed command may be tried again."""
        failed = self._failed.get(project)
        return min((at for _, at in failed.values() if at > after_s), default=None) if failed else None

    def keep_only(self, project: str, asked: Iterable[Command], under_way: Iterable[str]) -> None:
        """Forget the failed commands that nobody asks for any more; ``under_way``: the keys of those being tried."""
        failed = self._failed.get(project)
        if failed:
            keys = {command.key for command in asked}.union(under_way)
            self._failed[project] = {key: entry for key, entry in failed.items() if key in keys}

    def forget(self, project: str) -> None:
        """Nothing of ``project`` is left to be retried."""
        self._failed.pop(project, None)
