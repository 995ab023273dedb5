"""A release as a transaction over services: it ends when all have arrived, and goes back whole when one has failed.

Called by `release` after every service's step. A release that has succeeded is watched for a while, and is taken back
when most of what it started fails all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from fairlead.rollout.definition import Definition
from fairlead.rollout.notes import Note
from fairlead.rollout.policy import UpdatePolicy
from fairlead.rollout.progress import rules_of
from fairlead.rollout.state import ProjectState, ServiceState, Transaction, TransactionPhase
from fairlead.rollout.states import InstancePhase, RolloutPhase, members
from fairlead.rollout.steering import roll_back
from fairlead.spec.model import FailureAction

_R = members(RolloutPhase)
_T = members(TransactionPhase)
Services = dict[str, ServiceState]
Outcome = tuple[ProjectState, Services, list[Note]]


class _Release(msgspec.Struct, frozen=True):
    """A release that is under way or watched, and what may become of it."""

    project: ProjectState
    transaction: Transaction
    services: Services
    definitions: Mapping[str, Definition]
    now_s: float

    def unmoved(self) -> Outcome:
        return self.project, self.services, []

    def moved(self, transaction: Transaction, note: Note) -> Outcome:
        return replace(self.project, transaction=transaction), self.services, [note]

    def taken_back(self, why: str) -> Outcome:
        project, after = roll_back(self.project, self.services, self.definitions, why, self.now_s)
        return project, after, [_release_note("release-rolling-back", self.transaction, why, "error")]


def settle_release(
    project: ProjectState, services: Services, definitions: Mapping[str, Definition], now_s: float
) -> Outcome:
    """The release one move further, where what became of its services allows or demands one."""
    transaction = project.transaction
    if transaction is None or project.leaving:
        return project, services, []
    release = _Release(project, transaction, services, definitions, now_s)
    match transaction.phase:
        case _T.RUNNING | _T.PAUSED:
            return _while_running(release)
        case _T.ROLLING_BACK:
            return _while_rolling_back(release)
        case _T.SUCCEEDED:
            return _while_watching(release)
    return release.unmoved()


def watch_release(
    project: ProjectState, before: Mapping[str, ServiceState], after: Services, now_s: float
) -> ProjectState:
    """Note the replicas of a release that has just succeeded and that fail all the same."""
    transaction = project.transaction
    if transaction is None or transaction.phase is not _T.SUCCEEDED or now_s >= transaction.watch_until_s:
        return project
    failed = dict(transaction.watched_slots)
    for name in transaction.changed:
        known = {i.id for i in before[name].instances if i.failure} if name in before else set()
        state = after.get(name)
        mine = state.current() if state else ()
        fresh = tuple(i.slot for i in mine if i.failure and not i.outside and i.id not in known)
        if fresh:
            failed[name] = (*failed.get(name, ()), *fresh)
    if failed == transaction.watched_slots:
        return project
    return replace(project, transaction=replace(transaction, watched_slots=failed))


def _while_running(release: _Release) -> Outcome:
    transaction = release.transaction
    phases = {n: s.rollout for n, s in release.services.items() if n in transaction.changed and s.rollout is not None}
    for name in sorted(phases):
        rollout = phases[name]
        message = f"{name}: {rollout.message}"
        if rollout.phase is _R.GATE_FAILED:
            return release.taken_back(message)
        if rollout.phase is _R.PAUSED and transaction.phase is _T.RUNNING:
            paused = replace(transaction, phase=_T.PAUSED, message=message)
            return release.moved(paused, _release_note("release-paused", transaction, message, "error"))
    if any(rollout.phase is not _R.SUCCEEDED for rollout in phases.values()):
        return release.unmoved()
    services, waiting = _remove_services(release.services, transaction.removed)
    release = replace(release, services=services)
    return release.unmoved() if waiting else _succeed(release)


def _remove_services(services: Services, removed: tuple[str, ...]) -> tuple[Services, bool]:
    """The services with the removed ones on their way out or gone, and whether any is still there."""
    after = dict(services)
    for name in removed:
        state = after.get(name)
        if state is None:
            continue
        if state.target is None and not state.instances:
            del after[name]
        else:
            after[name] = state.withdrawn()
    return after, any(name in after for name in removed)


def _succeed(release: _Release) -> Outcome:
    transaction = release.transaction
    watches = [
        release.definitions[state.target.definition_id].policy.watch_s
        for name, state in release.services.items()
        if state.target is not None and name in transaction.changed and name in transaction.previous
    ]
    idle = [name for name in sorted(transaction.changed) if _serves_nothing(release.services.get(name))]
    told = f"no replica of {', '.join(idle)} serves" if idle else ""
    ended = replace(
        transaction,
        phase=_T.SUCCEEDED,
        message=told,
        ended_at_s=release.now_s,
        watch_until_s=release.now_s + max(watches, default=0.0),
        watched_slots={},
    )
    what = f"went on as its update_config says: {told}" if told else "serves"
    project, services, notes = release.moved(ended, _release_note("release-succeeded", transaction, what))
    return replace(project, serving=transaction.release), services, notes


def _serves_nothing(state: ServiceState | None) -> bool:
    """Every replica failed, and `failure_action: continue` (or a ratio of 1) took that for good enough."""
    if state is None or state.target is None or state.target.replicas == 0 or state.rollout is None:
        return False
    return len(state.rollout.failed_slots) >= state.target.replicas and not any(
        instance.phase in (InstancePhase.READY, InstancePhase.COMPLETED) for instance in state.current()
    )


def _while_rolling_back(release: _Release) -> Outcome:
    transaction, services = release.transaction, release.services
    involved = [services[n] for n in sorted({*transaction.changed, *transaction.removed}) if n in services]
    phases = {state.rollout.phase for state in involved if state.rollout is not None}
    if _R.ROLLING_BACK in phases:
        return release.unmoved()
    if _R.FAILED in phases:
        worst = next(s for s in involved if s.rollout is not None and s.rollout.phase is _R.FAILED)
        message = f"{transaction.message}; {worst.service}: {worst.rollout.message if worst.rollout else ''}"
        failed = replace(transaction, phase=_T.FAILED, message=message, ended_at_s=release.now_s)
        return release.moved(failed, _release_note("release-failed", transaction, message, "error"))
    ended = replace(transaction, phase=_T.ROLLED_BACK, ended_at_s=release.now_s)
    what = f"rolled back: {transaction.message}"
    return release.moved(ended, _release_note("release-rolled-back", transaction, what, "error"))


def _while_watching(release: _Release) -> Outcome:
    transaction = release.transaction
    for name, slots in sorted(transaction.watched_slots.items()):
        state = release.services.get(name)
        if state is None or state.target is None or name not in transaction.previous:
            continue
        policy = release.definitions[state.target.definition_id].policy
        update = rules_of(state.rollout, policy) if state.rollout is not None else policy.update
        if release.now_s < transaction.watch_until_s and _is_disowned(slots, state.target.replicas, update):
            causes = [instance.failure for instance in state.current() if instance.failure]
            cause = causes[-1] if causes else "it failed"
            count = f"{len(set(slots))} of {state.target.replicas} replicas"
            return release.taken_back(f"{name}: {count} failed soon after the release: {cause}")
    return release.unmoved()


def _is_disowned(slots: tuple[int, ...], replicas: int, update: UpdatePolicy) -> bool:
    """Most replicas failed, more than the file tolerates, and not for once; never where it says to do nothing else.

    One slot that fails again and again is one replica: the others serve, and its restart policy deals with it.
    """
    if update.failure_action is not FailureAction.ROLLBACK or len(slots) < 2:
        return False
    return len(set(slots)) > replicas * max(0.5, update.max_failure_ratio)


def _release_note(kind: str, transaction: Transaction, what: str, level: str = "info") -> Note:
    return Note(
        kind=kind,
        message=f"release {transaction.release} {what}"
        if level == "info"
        else f"release {transaction.release}: {what}",
        service="",
        level="error" if level == "error" else "info",
    )
