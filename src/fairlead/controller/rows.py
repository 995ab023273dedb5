"""What is listed: replicas, services, projects and releases as rows, from a book and the last observation.

Used by `runtime`; pure.
"""

from __future__ import annotations

from fairlead.controller.book import Book
from fairlead.controller.controls import Operation, ProjectStatus, ReleaseRow, ReplicaRow, ServiceRow
from fairlead.observed import Health, Observation, ObservedReplica, ReplicaHealth, ReplicaState
from fairlead.rollout.definition import Definition
from fairlead.rollout.lifecycle import number_of
from fairlead.rollout.state import Instance, ServiceState, TransactionPhase
from fairlead.rollout.states import ACTIVE, InstancePhase, RolloutPhase
from fairlead.routing import Route

_T = TransactionPhase
_LEAVING = ("draining", "stopping", "stopped", "failed")
_PROJECT_STATES = {_T.RUNNING: "releasing", _T.PAUSED: "paused", _T.ROLLING_BACK: "rolling-back"}


def replica_rows(book: Book, observation: Observation | None, now_s: float) -> tuple[ReplicaRow, ...]:
    """One row a replica, by service and slot; those that are on their way out come last."""
    if book.gone:
        return ()
    seen = {replica.id: replica for replica in observation.replicas} if observation else {}
    rows = [
        _replica_row(book, state, instance, seen.get(instance.id), observation, now_s)
        for state in book.services.values()
        for instance in state.instances
    ]
    return tuple(sorted(rows, key=lambda row: (row.service, row.state in _LEAVING, row.slot, number_of(row.id))))


_SERVING = frozenset({InstancePhase.CREATING, InstancePhase.STARTING, InstancePhase.READY})


def _ended(instance: Instance, observation: Observation | None) -> ObservedReplica | None:
    """The replica as it ended, where the books do not say so yet: they lag while the store cannot be written."""
    seen = next((r for r in observation.replicas if r.id == instance.id), None) if observation else None
    if seen is None or seen.state is not ReplicaState.EXITED or instance.phase not in _SERVING:
        return None
    return seen


def _state_of(instance: Instance, ended: ObservedReplica | None) -> str:
    if ended is None:
        return str(instance.phase)
    return "stopped" if ended.exit is not None and ended.exit.code == 0 else "failed"


def _replica_row(
    book: Book,
    state: ServiceState,
    instance: Instance,
    seen: ObservedReplica | None,
    observation: Observation | None,
    now_s: float,
) -> ReplicaRow:
    health = observation.health.get(instance.id) if observation else None
    started = seen.started_at_s if seen and seen.started_at_s is not None else instance.started_at_s
    requests, streams = _in_flight(instance.id, observation)
    own = state.target is not None and instance.key == state.target.key
    restarts = (state.restarts if own else state.origin_restarts).get(instance.slot)
    native = seen.native_id if seen else ""
    ended = _ended(instance, observation)
    phase = _state_of(instance, ended)
    return ReplicaRow(
        id=instance.id,
        project=book.name,
        service=state.service,
        revision=instance.revision_id,
        release=_release_of(book, instance),
        slot=instance.slot,
        state=phase,
        health=str(health.health) if health and not ended else "unknown",
        reason=instance.failure or (str(ended.exit or "") if ended else _asked(health, phase)),
        address=_address(book, instance),
        pid=int(native) if native.isdigit() and len(native) < 9 else None,
        native_id=native,
        engine=book.project.engine,
        in_flight=requests,
        streams=streams,
        restarts=restarts.attempts if restarts else 0,
        started_at_s=started,
        uptime_s=max(0.0, now_s - started) if started is not None else None,
    )


def _asked(health: ReplicaHealth | None, phase: str) -> str:
    """What its probes say, unless that is no reason for the state that it is in: it is well and on its way out."""
    if health is None or (health.health is Health.READY and phase in _LEAVING):
        return ""
    return health.reason


def _in_flight(replica_id: str, observation: Observation | None) -> tuple[int, int]:
    statuses = [
        endpoint
        for route in (observation.routes.values() if observation else ())
        for endpoint in route.endpoints
        if endpoint.replica_id == replica_id
    ]
    return sum(status.in_flight for status in statuses), sum(status.streams for status in statuses)


def _address(book: Book, instance: Instance) -> str | None:
    definition = book.definitions.get(instance.revision_id)
    ports = [port.target for port in definition.revision.service.ports] if definition else []
    for port in [*ports, *sorted(instance.addresses)]:
        if port in instance.addresses:
            address = instance.addresses[port]
            return f"{address.host}:{address.port}"
    return None


def _release_of(book: Book, instance: Instance) -> int | None:
    """The newest release that runs this replica's revision and generation."""
    for number in sorted(book.releases, reverse=True):
        if any(target.key == instance.key for target in book.releases[number].targets.values()):
            return number
    return None


def project_status(book: Book, observation: Observation | None, now_s: float) -> ProjectStatus:
    """The project's row with those of its services."""
    rows = tuple(_service_row(book, state, observation, now_s) for _, state in sorted(book.services.items()))
    running = [o for o in book.operations.values() if o.ended_at_s is None]
    return ProjectStatus(
        name=book.name,
        engine=book.project.engine,
        state=_state(book, rows),
        release=book.project.serving or None,
        services=rows if not book.gone else (),
        operation=max(running, key=lambda o: o.started_at_s) if running else _last(book),
        paused=book.project.paused,
        files=book.project.files,
    )


def _last(book: Book) -> Operation | None:
    return max(book.operations.values(), key=lambda o: o.started_at_s, default=None)


def _state(book: Book, rows: tuple[ServiceRow, ...]) -> str:
    if book.gone:
        return "down"
    if book.project.leaving:
        return "stopping"
    transaction = book.project.transaction
    if book.project.paused:
        return "paused"
    if transaction is not None and transaction.phase in _PROJECT_STATES:
        return _PROJECT_STATES[transaction.phase]
    return "running" if all(row.ready >= row.replicas for row in rows) else "degraded"


def _service_row(book: Book, state: ServiceState, observation: Observation | None, now_s: float) -> ServiceRow:
    definition = book.definitions.get(state.target.definition_id) if state.target else None
    rollout = state.rollout
    telling = rollout is not None and (rollout.phase in ACTIVE or rollout.phase is RolloutPhase.FAILED)
    ready = (InstancePhase.READY, InstancePhase.COMPLETED)
    return ServiceRow(
        name=state.service,
        revision=state.target.revision_id if state.target else None,
        replicas=state.target.replicas if state.target else 0,
        ready=sum(instance.phase in ready and not _ended(instance, observation) for instance in state.current()),
        phase=str(rollout.phase) if telling and rollout else "steady",
        message=rollout.message if telling and rollout else _trouble(state, observation, now_s),
        published=_published(definition, observation),
        old_ready=sum(i.phase is InstancePhase.READY and not _ended(i, observation) for i in state.others()),
    )


def _trouble(state: ServiceState, observation: Observation | None, now_s: float) -> str:
    """Why not all of it serves: given up, failing again and again, or not ready; empty where nothing is wrong."""
    given_up = [restarts for restarts in state.restarts.values() if restarts.exhausted]
    if given_up:
        count = "1 replica" if len(given_up) == 1 else f"{len(given_up)} replicas"
        return f"gave up restarting {count}: {given_up[-1].failure}"
    serving = {i.slot for i in state.current() if i.phase in (InstancePhase.READY, InstancePhase.COMPLETED)}
    broken = {slot: restarts for slot, restarts in state.restarts.items() if slot not in serving and restarts.failure}
    if broken:
        worst = max(broken.values(), key=lambda restarts: restarts.attempts)
        wait_s = worst.next_at_s - now_s
        soon = f", next try in {wait_s:.0f} s" if wait_s >= 1 else ""
        return f"failed {worst.attempts} times{soon}: {worst.failure}" if worst.attempts > 1 else worst.failure
    for instance in state.current():
        health = observation.health.get(instance.id) if observation else None
        if instance.phase is InstancePhase.STARTING and health is not None and health.reason:
            return f"{instance.id} is not ready: {health.reason}"
    return ""


def _published(definition: Definition | None, observation: Observation | None) -> tuple[str, ...]:
    routes = definition.routes if definition else ()
    return tuple(_listening(route, observation) for route in routes if not route.inside)


def _listening(route: Route, observation: Observation | None) -> str:
    host = route.host or route.listen.host or "0.0.0.0"
    seen = observation.routes.get(route.key) if observation and not route.listen.port else None
    port = str(route.listen.port or (seen.port if seen else 0) or "(chosen)")
    return f"{route.protocol}://{host}:{port}{route.path or ''} -> {route.target}"


def release_rows(book: Book, now_s: float) -> tuple[ReleaseRow, ...]:
    """One row a release, newest first."""
    return tuple(
        ReleaseRow(
            number=release.number,
            kind=release.kind,
            state=release.state,
            revisions={name: target.revision_id for name, target in sorted(release.targets.items())},
            message=release.message,
            started_at_s=release.started_at_s,
            ended_at_s=release.ended_at_s,
            current=release.number == book.project.serving,
            watch_left_s=_watch_left_s(book, release.number, now_s),
        )
        for release in sorted(book.releases.values(), key=lambda r: -r.number)
    )


def _watch_left_s(book: Book, number: int, now_s: float) -> float:
    transaction = book.project.transaction
    if transaction is None or transaction.release != number or transaction.phase is not _T.SUCCEEDED:
        return 0.0
    return max(0.0, transaction.watch_until_s - now_s)
