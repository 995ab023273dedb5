"""What an operator asks for, turned into a new release of a book.

Called by `core`; pure: ``(book, request, now) -> book``. Nothing is started here, the rollouts only begin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from msgspec.structs import replace

from fairlead.controller.book import RELEASES_KEPT, Book, Release, StoredDefinition
from fairlead.controller.controls import UpRequest
from fairlead.errors import NotFoundError, RefusedError, UsageError
from fairlead.plan.operations import Action, Operation, Plan
from fairlead.plan.planner import Current, Wanted, jobs, plan
from fairlead.plan.preflight import REPLICAS_MOST
from fairlead.plan.sharing import handovers
from fairlead.rollout.state import ScaleOverride, ServiceState, Target, Transaction, TransactionPhase
from fairlead.rollout.states import RolloutPhase
from fairlead.rollout.steering import begin_rollout, last_good
from fairlead.spec.model import Project, Service
from fairlead.spec.report import unknown_service
from fairlead.spec.revision import Revision, revision_of

_UNDER_WAY = (TransactionPhase.RUNNING, TransactionPhase.PAUSED, TransactionPhase.ROLLING_BACK)
_GOING = (Action.REMOVE, Action.UPDATE, Action.RERUN)
_ENDED_WELL = (RolloutPhase.SUCCEEDED, RolloutPhase.ROLLED_BACK)


def wanted_by_file(
    project: Project, overrides: Mapping[str, ScaleOverride], *, again: frozenset[str] = frozenset()
) -> dict[str, Wanted]:
    """What the file asks for, with the numbers that `fairlead scale` has set."""
    ends = jobs(project.services)
    return {
        name: Wanted(
            revision=revision_of(project, service),
            replicas=effective_replicas(service.replicas, overrides.get(name)),
            again=name in again,
            job=name in ends,
        )
        for name, service in project.services.items()
    }


def wanted_by_request(
    book: Book | None, project: Project, overrides: Mapping[str, ScaleOverride], *, again: frozenset[str] = frozenset()
) -> dict[str, Wanted]:
    """What the file asks for, and what runs of its services whose profiles are not selected: those stay as they are."""
    running = wanted_now(book) if book is not None else {}
    kept = {name: running[name] for name in project.unselected if name in running}
    return kept | wanted_by_file(project, overrides, again=again)


def overrides_of(request: UpRequest) -> dict[str, ScaleOverride]:
    """The numbers that `up --scale` sets, by service.

    :raises NotFoundError: the file has no such service.
    :raises UsageError: a number is below 0.
    :raises RefusedError: a number is above what one machine can have.
    """
    refuse_scale(request)
    services = request.project.services
    return {name: ScaleOverride(base=services[name].replicas, replicas=n) for name, n in request.scale.items()}


def refuse_scale(request: UpRequest) -> None:
    """Refuse numbers for services that the file does not have; raises as :func:`overrides_of`."""
    for service, replicas in sorted(request.scale.items()):
        if service not in request.project.services:
            raise unknown_service(request.project.name, service, request.project.services)
        _refuse_number(service, replicas)


def _refuse_number(service: str, replicas: int) -> None:
    if replicas < 0:
        raise UsageError(f"{service}={replicas}: the number of replicas must be 0 or more")
    if replicas > REPLICAS_MOST:
        raise RefusedError(f"{service}={replicas}: a service can have at most {REPLICAS_MOST} replicas")


def effective_replicas(in_file: int, override: ScaleOverride | None) -> int:
    """The number set by `scale`, as long as the file still says what it said then."""
    return override.replicas if override is not None and override.base == in_file else in_file


def wanted_now(book: Book, *, again: frozenset[str] = frozenset()) -> dict[str, Wanted]:
    """What the project has now, as something to ask for."""
    found = {}
    for name, target in current_targets(book).items():
        stored = book.stored[target.definition_id]
        found[name] = Wanted(revision=stored.revision, replicas=target.replicas, again=name in again, job=stored.job)
    return found


def wanted_by_release(book: Book, number: int) -> dict[str, Wanted]:
    """What release ``number`` was, with today's numbers of replicas.

    :raises NotFoundError: there is no such release, or it is too old to be remembered.
    """
    release = book.releases.get(number)
    if release is None:
        raise NotFoundError(
            f"{book.name} has no release {number}", hint="`fairlead history` lists the releases to go back to"
        )
    now = current_targets(book)
    return {
        name: Wanted(
            revision=book.stored[target.definition_id].revision,
            replicas=now[name].replicas if name in now else target.replicas,
            job=book.stored[target.definition_id].job,
        )
        for name, target in release.targets.items()
    }


def current_targets(book: Book) -> dict[str, Target]:
    """Each service's target, those that are on their way out left aside."""
    return {name: s.target for name, s in sorted(book.services.items()) if s.target is not None and not s.leaving}


def earlier_release(book: Book) -> int:
    """The release that `fairlead rollback` goes to: the newest that succeeded and differs from what serves.

    :raises RefusedError: there is none.
    """
    now = {name: target.definition_id for name, target in current_targets(book).items()}
    for number in sorted(book.releases, reverse=True):
        release = book.releases[number]
        if number >= book.project.serving or release.state != "succeeded":
            continue
        if {name: target.definition_id for name, target in release.targets.items()} != now:
            return number
    raise RefusedError(f"{book.name} has no earlier release to go back to", hint="`fairlead history` lists them")


def plan_for(book: Book | None, name: str, wanted: Mapping[str, Wanted]) -> Plan:
    """The plan from what the project has to ``wanted``.

    :raises RefusedError: a published port would pass to another service while its owner still serves on it.
    """
    current: dict[str, Current] = {}
    for service, target in current_targets(book).items() if book is not None and not book.gone else ():
        assert book is not None
        rollout = book.services[service].rollout
        current[service] = Current(
            revision=book.stored[target.definition_id].revision,
            definition_id=target.definition_id,
            replicas=target.replicas,
            settled=rollout is None or rollout.phase in _ENDED_WELL,
        )
    made = plan(name, current, wanted)
    _refuse_handovers(made, current, wanted)
    return made


def _refuse_handovers(made: Plan, current: Mapping[str, Current], wanted: Mapping[str, Wanted]) -> None:
    """Replicas that go serve until the release has succeeded, and the load balancer has one owner for a port."""
    leaving = {o.service: o.action for o in made.operations if o.service in current and o.action in _GOING}
    going = {name: current[name].revision.service for name in leaving}
    for clash in handovers(going, {name: w.revision.service for name, w in wanted.items()}):
        port, owner, heir = clash.earlier.port.published, clash.earlier.service.name, clash.later.service.name
        does = "removes" if leaving[owner] is Action.REMOVE else "exchanges the replicas of"
        raise RefusedError(
            f"port {port} cannot pass from {owner} to {heir} in the release that {does} {owner}",
            hint=f"publish another port for {owner}, unchanged, in the release in which {heir} takes this one over; "
            f"change or remove {owner} in the next",
        )


def begin_release(
    book: Book, kind: str, wanted: Mapping[str, Wanted], message: str, cores: int, now_s: float
) -> tuple[Book, Plan]:
    """``book`` with a new release to ``wanted`` under way; one that was under way is superseded.

    Where there is nothing to do no release is made; slots that were given up are tried again.
    """
    made = plan_for(book, book.name, wanted)
    if made.is_empty and book.project.release:
        return _forgiven(book), made
    book = _supersede(book, now_s)
    number = book.project.release + 1
    book = book.with_definitions(
        {w.definition_id: StoredDefinition(revision=w.revision, job=w.job) for w in wanted.values()}, cores
    )
    previous = _previous(book)
    services = dict(book.services)
    targets: dict[str, Target] = {}
    for operation in made.operations:
        if operation.after is None:
            continue
        state = services.get(operation.service) or ServiceState(project=book.name, service=operation.service)
        targets[operation.service] = _target(state, operation, wanted[operation.service])
        services[operation.service] = _begin(state, operation, targets[operation.service], number, kind, now_s)
    moving = (Action.CREATE, Action.UPDATE, Action.ADJUST, Action.RERUN)
    transaction = Transaction(
        release=number,
        kind=kind,
        phase=TransactionPhase.RUNNING,
        previous=previous,
        changed=tuple(o.service for o in made.operations if o.action in moving),
        removed=tuple(o.service for o in made.operations if o.action is Action.REMOVE),
        scaled={o.service: o.replicas_after for o in made.operations if o.action is Action.SCALE},
        message="",
        started_at_s=now_s,
    )
    release = Release(number=number, kind=kind, state="running", targets=targets, message=message, started_at_s=now_s)
    project = replace(book.project, release=number, transaction=transaction, paused=False, leaving=False)
    return _with_release(replace(book, project=project, services=services), release), made


def _forgiven(book: Book) -> Book:
    """``book`` with a clean slate for every slot: who asks again wants it tried again."""
    services = {n: replace(s, restarts={}) if s.restarts else s for n, s in book.services.items()}
    return replace(book, services=services)


def set_scale(book: Book, numbers: Mapping[str, int]) -> Book:
    """``book`` with other numbers of replicas.

    :raises NotFoundError: the project has no such service.
    :raises UsageError: a number is below 0.
    :raises RefusedError: a number is above what one machine can have.
    """
    services = dict(book.services)
    overrides = dict(book.project.scale)
    transaction = book.project.transaction
    previous = dict(transaction.previous) if transaction is not None else {}
    for name, replicas in sorted(numbers.items()):
        state = services.get(name)
        if state is None or state.target is None:
            raise unknown_service(book.name, name, services)
        _refuse_number(name, replicas)
        base = book.stored[state.target.definition_id].revision.service.replicas
        overrides[name] = ScaleOverride(base=base, replicas=replicas)
        services[name] = replace(state, target=replace(state.target, replicas=replicas), restarts={})
        if name in previous:
            # Taking the release back brings back the old revision, not the old number.
            previous[name] = replace(previous[name], replicas=replicas)
    if transaction is not None:
        transaction = replace(transaction, previous=previous)
    project = replace(book.project, scale=overrides, transaction=transaction)
    return replace(book, services=services, project=project)


def _previous(book: Book) -> dict[str, Target]:
    """What to go back to: for a service whose rollout never ended, the target before it."""
    found = {}
    for name, state in book.services.items():
        target = last_good(state)
        if target is not None and not state.leaving:
            found[name] = target
    return found


def _supersede(book: Book, now_s: float) -> Book:
    transaction = book.project.transaction
    if transaction is None or transaction.phase not in _UNDER_WAY:
        return book
    release = book.releases.get(transaction.release)
    if release is not None:
        book = _with_release(book, replace(release, state="superseded", ended_at_s=now_s))
    superseded = replace(transaction, phase=TransactionPhase.SUPERSEDED, ended_at_s=now_s)
    return replace(book, project=replace(book.project, transaction=superseded))


def _target(state: ServiceState, operation: Operation, wanted: Wanted) -> Target:
    generation = state.target.generation if state.target else 1
    if operation.action is Action.RERUN:
        generation += 1
    return Target(
        revision_id=wanted.revision.id,
        definition_id=wanted.definition_id,
        generation=generation,
        replicas=wanted.replicas,
    )


def _begin(
    state: ServiceState, operation: Operation, target: Target, number: int, kind: str, now_s: float
) -> ServiceState:
    if operation.action is Action.KEEP:
        return replace(state, restarts={}) if state.restarts else state
    if operation.action is Action.SCALE:
        return replace(state, target=target, restarts={})
    return begin_rollout(state, target, number, now_s, returning=kind == "rollback")


def _with_release(book: Book, release: Release) -> Book:
    releases = dict(book.releases) | {release.number: release}
    for number in sorted(releases)[: max(0, len(releases) - RELEASES_KEPT)]:
        del releases[number]
    return forget_definitions(replace(book, releases=releases))


def forget_definitions(book: Book) -> Book:
    """``book`` without definitions that no release, target or replica needs any more."""
    needed = {target.definition_id for release in book.releases.values() for target in release.targets.values()}
    for state in book.services.values():
        needed |= {state.target.definition_id} if state.target else set()
        if state.rollout and state.rollout.origin:
            needed.add(state.rollout.origin.definition_id)
    if book.project.transaction:
        needed |= {target.definition_id for target in book.project.transaction.previous.values()}
    running = {instance.revision_id for state in book.services.values() for instance in state.instances}
    stored = {k: v for k, v in book.stored.items() if k in needed or v.revision.id in running}
    if len(stored) == len(book.stored):
        return book
    kept = set(stored) | {value.revision.id for value in stored.values()}
    return replace(book, stored=stored, definitions={k: v for k, v in book.definitions.items() if k in kept})


def revised(book: Book, service: str, image: str | None, environment: Mapping[str, str]) -> dict[str, Wanted]:
    """What the project has now with one service changed (`fairlead deploy`).

    :raises NotFoundError: the project has no such service.
    """
    wanted = wanted_now(book)
    if service not in wanted:
        raise unknown_service(book.name, service, wanted)
    old = wanted[service].revision
    revised_service = dataclasses.replace(
        old.service,
        image=image if image is not None else old.service.image,
        environment={**old.service.environment, **environment},
    )
    wanted[service] = dataclasses.replace(wanted[service], revision=rebuilt(book.name, old, revised_service))
    return wanted


def rebuilt(project: str, old: Revision, service: Service) -> Revision:
    """A revision like ``old`` with another service definition."""
    frame = Project(
        name=project,
        working_dir=old.working_dir,
        networks=old.resources.get("networks", {}),
        volumes=old.resources.get("volumes", {}),
        secrets=old.resources.get("secrets", {}),
        configs=old.resources.get("configs", {}),
    )
    return revision_of(frame, service)
