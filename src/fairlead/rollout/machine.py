"""One step of one service: `step(state, event, now) -> Step(state, commands, notes)`.

Called by `release` for every service of a project, on every observation. Level-triggered: what there is to do
follows from the state and from what is observed, so that a command that was lost is simply asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from fairlead.rollout import commands
from fairlead.rollout.commands import Command
from fairlead.rollout.definition import Definition
from fairlead.rollout.drain import may_stop, shed_due
from fairlead.rollout.lifecycle import absorb, book_failure, fail
from fairlead.rollout.notes import Note, failed, replica_note
from fairlead.rollout.progress import advance
from fairlead.rollout.state import Instance, ServiceState
from fairlead.rollout.states import InstancePhase, members, move
from fairlead.rollout.view import ServiceView
from fairlead.rollout.wanted import converge

_P = members(InstancePhase)
_UNDISTURBED = frozenset({_P.STARTING, _P.READY, _P.COMPLETED})
"""Phases in which nothing is asked for."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The service was looked at. ``paused``: an operator holds its rollout. ``releasing``: a release of the project
    is under way that may still be taken back."""

    view: ServiceView
    paused: bool = False
    releasing: bool = False


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """A command was carried out (``error`` empty) or failed for good."""

    command: Command
    error: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from an event."""

    state: ServiceState
    commands: tuple[Command, ...] = ()
    notes: tuple[Note, ...] = ()


def step(state: ServiceState, event: Observed | Settled, definitions: Mapping[str, Definition], now_s: float) -> Step:
    """The state after ``event``, the commands it makes necessary, and what there is to tell."""
    if isinstance(event, Settled):
        return _settle(state, event, definitions, now_s)
    after, notes = absorb(state, event.view, definitions, now_s)
    if not event.paused:
        after, more = advance(after, event.view, definitions, now_s)
        notes += more
    after = converge(after, event.view, definitions, now_s, releasing=event.releasing)
    after, asked = _act(after, event.view, definitions, now_s)
    return Step(state=after, commands=asked, notes=(*notes, *_departures(state, after)))


def _act(
    state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition], now_s: float
) -> tuple[ServiceState, tuple[Command, ...]]:
    instances: list[Instance] = []
    asked: list[Command] = []
    for before in state.instances:
        if before.phase in _UNDISTURBED:
            instances.append(before)
            continue
        after, command = _next(state, before, view, definitions, now_s)
        instances.append(after)
        if command is not None:
            asked.append(command)
    changed = tuple(instances)
    if changed != state.instances:
        state = replace(state, instances=changed)
    return state, tuple(asked)


def _departures(before: ServiceState, after: ServiceState) -> list[Note]:
    """Who begins to drain, and who is told to stop."""
    if after.instances is before.instances:
        return []
    phases = {instance.id: instance.phase for instance in before.instances}
    notes = []
    for instance in after.instances:
        if instance.phase is phases.get(instance.id):
            continue
        if instance.phase is _P.DRAINING:
            notes.append(replica_note(after, instance, "replica-draining", "drains"))
        elif instance.phase is _P.STOPPING:
            notes.append(replica_note(after, instance, "replica-stopping", "stops"))
    return notes


def _next(
    state: ServiceState,
    instance: Instance,
    view: ServiceView,
    definitions: Mapping[str, Definition],
    now_s: float,
) -> tuple[Instance, Command | None]:
    """What one replica needs done in its phase."""
    match instance.phase:
        case _P.CREATING:
            return instance, _start(state, instance)
        case _P.DRAINING:
            if may_stop(state, instance, view, definitions, now_s):
                stopping = move(instance, _P.STOPPING)
                return stopping, _stop(state, stopping, definitions)
            share = shed_due(state, instance, view, definitions, now_s)
            if share is not None:
                return replace(instance, shed_stage=instance.shed_stage + 1), _shed(state, instance, share)
        case _P.STOPPING:
            return instance, _stop(state, instance, definitions)
        case _P.STOPPED | _P.FAILED if view.is_out(instance.id):
            return instance, _remove(state, instance)
    return instance, None


def _start(state: ServiceState, instance: Instance) -> Command:
    return commands.StartReplica(
        service=state.service,
        replica_id=instance.id,
        slot=instance.slot,
        generation=instance.generation,
        revision_id=instance.revision_id,
        cause=f"slot {instance.slot} of {state.service} has no replica of {instance.revision_id}",
    )


def _stop(state: ServiceState, instance: Instance, definitions: Mapping[str, Definition]) -> Command:
    definition = definitions.get(instance.revision_id)
    return commands.StopReplica(
        service=state.service,
        replica_id=instance.id,
        grace_s=definition.policy.stop_grace_s if definition else 10.0,
        signal=definition.policy.stop_signal if definition else None,
        cause=instance.failure or "drained",
    )


def _remove(state: ServiceState, instance: Instance) -> Command:
    return commands.RemoveReplica(service=state.service, replica_id=instance.id, cause=instance.failure or "has ended")


def _shed(state: ServiceState, instance: Instance, share: float) -> Command:
    return commands.ShedStreams(
        service=state.service, replica_id=instance.id, share=share, cause="its streams' deadline is near"
    )


def _settle(state: ServiceState, event: Settled, definitions: Mapping[str, Definition], now_s: float) -> Step:
    command = event.command
    replica_id = getattr(command, "replica_id", None)
    instance = next((i for i in state.instances if i.id == replica_id), None)
    if instance is None:
        return Step(state=state)
    match command:
        case commands.StartReplica() if instance.phase is _P.CREATING:
            if event.error:
                return _start_failed(state, instance, event.error, definitions, now_s)
            return Step(state=_with(state, move(instance, _P.STARTING, started_at_s=now_s)))
        case commands.StopReplica() if not event.error and instance.phase is _P.STOPPING:
            return Step(state=_with(state, move(instance, _P.STOPPED)))
        case commands.RemoveReplica() if not event.error and instance.phase in (_P.STOPPED, _P.FAILED):
            left = tuple(i for i in state.instances if i is not instance)
            note = replica_note(state, instance, "replica-removed", "is removed")
            return Step(state=replace(state, instances=left), notes=(note,))
    return Step(state=state)


def _start_failed(
    state: ServiceState, instance: Instance, error: str, definitions: Mapping[str, Definition], now_s: float
) -> Step:
    broken = fail(instance, error)
    definition = definitions.get(instance.revision_id)
    state = book_failure(_with(state, broken), broken, definition.policy if definition else None, now_s)
    return Step(state=state, notes=(failed(state, broken),))


def _with(state: ServiceState, instance: Instance) -> ServiceState:
    return replace(state, instances=tuple(instance if i.id == instance.id else i for i in state.instances))
