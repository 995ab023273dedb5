"""What the phases found: problems and warnings are collected here, so that a user sees all of them at once."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.errors import NotFoundError, Problem, SpecError
from fairlead.spec.tree import Path, Position, dotted

MAX_PROBLEMS = 200


class Report:
    """Collects in the order of discovery; one problem a place and key, so that no phase repeats another."""

    def __init__(self) -> None:
        self._problems: dict[tuple[Position, str], Problem] = {}
        self._warnings: dict[str, None] = {}
        self.broken: set[Path] = set()

    def problem(self, message: str, at: Position, path: Path | str = (), fix: str = "") -> None:
        """Record one problem; ``path`` is the key's path in steps (or already dotted)."""
        key = path if isinstance(path, str) else dotted(path)
        file, line, column = at
        identity = (at, key)
        if identity not in self._problems and len(self._problems) < MAX_PROBLEMS:
            self._problems[identity] = Problem(message, file, line, column, key, fix)
        if not isinstance(path, str):
            self.broken.add(path)

    def warn(self, message: str) -> None:
        """Record a warning once."""
        self._warnings.setdefault(message)

    @property
    def full(self) -> bool:
        """Whether so many problems were found that no further one is kept."""
        return len(self._problems) >= MAX_PROBLEMS

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, in the order of the files and lines where they stand."""
        return tuple(sorted(self._problems.values(), key=lambda found: (found.file, found.line, found.column)))

    def is_broken(self, *paths: Path) -> bool:
        """Whether a problem was found at one of ``paths`` or below."""
        return any(found[: len(path)] == path for path in paths for found in self.broken)

    def check(self) -> None:
        """Raise :class:`SpecError` if there is any problem."""
        if self._problems:
            raise SpecError(self.problems)


def suggestion(word: str, known: Iterable[str]) -> str:
    """``did you mean …?`` for the known word nearest to ``word``; empty when none is near."""
    from difflib import get_close_matches  # only on the way to an error: it is slow to import

    folded = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    near = get_close_matches(word.lower().replace("-", "_"), list(folded), n=1, cutoff=0.65)
    return f"did you mean {folded[near[0]]!r}?" if near else ""


def unknown_service(project: str, wanted: str, known: Iterable[str]) -> NotFoundError:
    """The one answer to a service name that ``project`` does not have, whoever was given it."""
    names = sorted(known)
    near = suggestion(wanted, names)
    services = f"its services: {', '.join(names) or 'none'}"
    return NotFoundError(f"{project} has no service {wanted!r}", hint=f"{near} {services}" if near else services)
