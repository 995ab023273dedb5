"""Every error that Fairlead raises on purpose, drawn as one tree.

    FairleadError                 exit code 1
    ├── UsageError                2   the command line is wrong
    ├── SpecError                 3   the Compose file is wrong: file, line, column, key, fix
    ├── RefusedError              4   the request is understood and refused (consent missing, not supported …)
    ├── ReleaseFailedError        5   a release did not pass its gates; what was before is serving
    ├── NotFoundError             6   no such project, service, release or replica
    ├── ControllerError           7   the controller cannot be reached or started
    ├── EngineError               8   an engine could not do what a command asked
    │   ├── StartFailedError          a replica could not be started at all (command not found …)
    │   └── EngineUnavailableError    the engine itself does not answer; a retry helps
    ├── RouterError               9   the load balancer refused or did not confirm a change
    │   ├── PortTakenError            a published port belongs to somebody else
    │   └── RouterUnavailableError    the load balancer does not answer; a retry helps
    ├── StoreError               10   the state cannot be read or written
    │   ├── StoreConflictError        another controller holds the lease: this one must stop acting
    │   └── StoreFullError            no space left for the journal; a retry helps
    └── DeadlineError            11   a wait ended before its fact came true

Adapters translate vendor errors into these; nothing above an adapter catches a vendor's exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class FairleadError(Exception):
    """The root: a message for a person, a hint with the fix, an exit code, and whether a retry helps."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """The wire form: ``{"error": class name, "message", "hint", "exit_code", "retryable"}``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.exit_code,
            "retryable": self.retryable,
        }


class UsageError(FairleadError):
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one place of a Compose file.

    ``file:line:column`` count from 1; ``line`` 0 means the whole file. ``key`` is the dotted path of the
    node (``services.api.ports[0]``), ``fix`` the sentence that tells the user what to write instead.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    fix: str = ""

    def __str__(self) -> str:
        where = self.file
        if self.line:
            where = f"{where}:{self.line}:{self.column}"
        parts = [part for part in (where, self.key, self.message) if part]
        text = ": ".join(parts)
        return f"{text}\n    fix: {self.fix}" if self.fix else text


class SpecError(FairleadError):
    """One or more problems in the Compose files, all of them at once."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def to_json(self) -> dict[str, Any]:
        keys = ("message", "file", "line", "column", "key", "fix")
        return super().to_json() | {"problems": [{k: getattr(p, k) for k in keys} for p in self.problems]}


class RefusedError(FairleadError):
    exit_code = 4


class ReleaseFailedError(FairleadError):
    exit_code = 5


class NotFoundError(FairleadError):
    exit_code = 6


class ControllerError(FairleadError):
    exit_code = 7


class EngineError(FairleadError):
    exit_code = 8


class StartFailedError(EngineError):
    pass


class EngineUnavailableError(EngineError):
    retryable = True


class RouterError(FairleadError):
    exit_code = 9


class PortTakenError(RouterError):
    pass


class RouterUnavailableError(RouterError):
    retryable = True


class StoreError(FairleadError):
    exit_code = 10


class StoreConflictError(StoreError):
    pass


class StoreFullError(StoreError):
    retryable = True


class DeadlineError(FairleadError):
    exit_code = 11
    retryable = True


def from_json(value: Mapping[str, Any]) -> FairleadError:
    """The error that :meth:`FairleadError.to_json` wrote; an unknown class comes back as the root."""
    if value.get("error") == "SpecError":
        return SpecError([Problem(**problem) for problem in value.get("problems", ())])
    kind = _BY_NAME.get(str(value.get("error")), FairleadError)
    return kind(str(value.get("message", "")), hint=value.get("hint"))


def _descendants(kind: type[FairleadError]) -> list[type[FairleadError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _descendants(child))]


_BY_NAME = {kind.__name__: kind for kind in _descendants(FairleadError) if kind is not SpecError}
