"""The operations of a plan, as data: one service each, with its cause.

Made by `planner`, printed by `render`, turned into rollouts by `controller`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What happens to a service.

    ``create``: it is new. ``update``: its replicas are exchanged for a new revision. ``adjust``: its rules or
    published ports change, its replicas stay. ``scale``: more or fewer replicas. ``rerun``: a job runs again, a
    restart was asked for, or it follows a dependency with `restart: true`. ``remove``: it is no longer in the file.
    ``keep``: nothing to do.
    """

    CREATE = "create"
    UPDATE = "update"
    ADJUST = "adjust"
    SCALE = "scale"
    RERUN = "rerun"
    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key that differs. The values are shown as text; those of secrets and variables are not shown."""

    key: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step of a plan. ``stage`` counts from 1: a service comes after everything that it depends on."""

    action: Action
    service: str
    stage: int
    before: str | None
    after: str | None
    replicas_before: int
    replicas_after: int
    cause: str
    changes: tuple[Change, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "action": str(self.action),
            "service": self.service,
            "stage": self.stage,
            "before": self.before,
            "after": self.after,
            "replicas_before": self.replicas_before,
            "replicas_after": self.replicas_after,
            "cause": self.cause,
            "changes": [{"key": c.key, "before": c.before, "after": c.after} for c in self.changes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Operations in the order in which they begin; those of one stage begin together."""

    project: str
    operations: tuple[Operation, ...]

    @property
    def is_empty(self) -> bool:
        """True when nothing would be done."""
        return all(operation.action is Action.KEEP for operation in self.operations)

    def to_json(self) -> dict[str, Any]:
        """The wire form: ``{"project", "empty", "operations": [...]}``."""
        return {
            "project": self.project,
            "empty": self.is_empty,
            "operations": [operation.to_json() for operation in self.operations],
        }
