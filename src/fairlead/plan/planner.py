"""Desired minus current: `plan(current, desired) -> Plan`.

Called by `controller` for `fairlead up`, `deploy`, `rollback` and `restart`, and for `fairlead plan`, which shows
the result and does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Any

import msgspec

from fairlead.plan.operations import Action, Change, Operation, Plan
from fairlead.spec.model import Condition, Service
from fairlead.spec.revision import Revision

HIDDEN = "(hidden)"
_SECRET_KEYS = ("environment",)
_MOST_TEXT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One service as it should be. ``again``: exchange its replicas even if nothing differs (a restart)."""

    revision: Revision
    replicas: int
    again: bool = False
    job: bool = False

    @property
    def definition_id(self) -> str:
        """See :func:`definition_id`."""
        return definition_id(self.revision, job=self.job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """One service as the project has it. ``settled``: its last rollout ended well."""

    revision: Revision
    definition_id: str
    replicas: int
    settled: bool = True


def definition_id(revision: Revision, *, job: bool) -> str:
    """The name of everything that ``revision``'s service says but its number of replicas."""
    whole = msgspec.to_builtins(revision.service)
    whole["scale"] = whole["deploy"]["replicas"] = None
    digest = hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()[:8]
    return f"{revision.id}+{digest}{'j' if job else ''}"


def jobs(services: Mapping[str, Service]) -> frozenset[str]:
    """Services that others wait for to complete: they run once a release and end."""
    return frozenset(
        name
        for service in services.values()
        for name, dependency in service.depends_on.items()
        if dependency.condition is Condition.COMPLETED
    )


def plan(project: str, current: Mapping[str, Current], desired: Mapping[str, Wanted]) -> Plan:
    """The operations that take ``current`` to ``desired``, services by name on both sides."""
    stages = _stages({name: wanted.revision.service for name, wanted in desired.items()})
    found = {name: _operation(name, stages[name], current.get(name), desired[name]) for name in desired}
    found = _rerun_jobs(_follow(found, desired), desired)
    removals = [_removal(name, len(set(stages.values())) + 1, current[name]) for name in current if name not in desired]
    ordered = sorted([*found.values(), *removals], key=lambda operation: (operation.stage, operation.service))
    return Plan(project=project, operations=tuple(ordered))


def _stages(services: Mapping[str, Service]) -> dict[str, int]:
    """The stage of each service: 1 where it depends on nothing, else one more than the latest of these."""
    graph = {name: [d for d in service.depends_on if d in services] for name, service in services.items()}
    stages: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        stages[name] = 1 + max((stages[dependency] for dependency in graph[name]), default=0)
    return stages


def _operation(name: str, stage: int, current: Current | None, wanted: Wanted) -> Operation:
    action, cause = _decide(current, wanted)
    differs = action not in (Action.KEEP, Action.RERUN)
    return Operation(
        action=action,
        service=name,
        stage=stage,
        before=current.revision.id if current else None,
        after=wanted.revision.id,
        replicas_before=current.replicas if current else 0,
        replicas_after=wanted.replicas,
        cause=cause,
        changes=_changes(current.revision.service, wanted.revision.service) if current and differs else (),
    )


def _decide(current: Current | None, wanted: Wanted) -> tuple[Action, str]:
    if current is None:
        return Action.CREATE, "the project does not have it yet"
    if current.revision.id != wanted.revision.id:
        return Action.UPDATE, "its definition changed"
    if wanted.again:
        return Action.RERUN, "a restart was asked for"
    if not current.settled:
        return Action.UPDATE, "its last rollout did not end"
    if current.definition_id != wanted.definition_id:
        return Action.ADJUST, "its rules or published ports changed, its replicas stay"
    if current.replicas != wanted.replicas:
        return Action.SCALE, f"{wanted.replicas} replicas instead of {current.replicas}"
    return Action.KEEP, "nothing changed"


def _follow(found: Mapping[str, Operation], desired: Mapping[str, Wanted]) -> dict[str, Operation]:
    """Who says `restart: true` of a dependency is exchanged after it, and so along a chain of them."""
    after = dict(found)
    exchanged = (Action.UPDATE, Action.RERUN)
    for name in sorted(found, key=lambda name: found[name].stage):
        if after[name].action in (Action.CREATE, *exchanged):
            continue
        for dependency, rule in desired[name].revision.service.depends_on.items():
            if rule.restart and dependency in after and after[dependency].action in exchanged:
                cause = f"it depends on {dependency} with `restart: true`"
                after[name] = replace(after[name], action=Action.RERUN, cause=cause, changes=())
                break
    return after


def _rerun_jobs(found: dict[str, Operation], desired: Mapping[str, Wanted]) -> dict[str, Operation]:
    """A job runs again when a service that waits for its completion is created or updated."""
    after = dict(found)
    exchanged = (Action.CREATE, Action.UPDATE)
    for name, wanted in desired.items():
        if found[name].action not in exchanged:
            continue
        for dependency, rule in wanted.revision.service.depends_on.items():
            is_job = rule.condition is Condition.COMPLETED
            if is_job and dependency in after and after[dependency].action is Action.KEEP:
                after[dependency] = replace(
                    after[dependency], action=Action.RERUN, cause=f"{name} waits for it and changes"
                )
    return after


def _removal(name: str, stage: int, current: Current) -> Operation:
    return Operation(
        action=Action.REMOVE,
        service=name,
        stage=stage,
        before=current.revision.id,
        after=None,
        replicas_before=current.replicas,
        replicas_after=0,
        cause="it is no longer in the file",
    )


def _changes(before: Service, after: Service) -> tuple[Change, ...]:
    """The keys in which two definitions differ, dotted, sorted."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    old["deploy"]["replicas"] = new["deploy"]["replicas"] = None
    different = [key for key in old if old[key] != new[key]]
    old, new = _flatten({key: old[key] for key in different}), _flatten({key: new[key] for key in different})
    return tuple(
        Change(key=key, before=_shown(key, old.get(key)), after=_shown(key, new.get(key)))
        for key in sorted(set(old) | set(new))
        if old.get(key) != new.get(key)
    )


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flatten(inner, f"{path}.{key}" if path else str(key))
    return found


def _shown(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key.startswith(_SECRET_KEYS):
        return HIDDEN
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"
