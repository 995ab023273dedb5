"""The synchronous heart of the controller: it decides and journals, and carries nothing out.

Driven by `runtime` (asyncio, the real world) and by the simulation (an event heap): both hand in observations and
outcomes, with the time, and get commands back. Every command that is handed out has been journalled in the same
commit as the state that follows from it; a commit that fails changes nothing and hands out nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec.structs import replace as changed

from fairlead.controller import outcomes, requests
from fairlead.controller.adopt import adopted
from fairlead.controller.book import Book, Release, changes, read_books, taken_over
from fairlead.controller.controls import Operation, OperationKind, OperationState, UpRequest
from fairlead.controller.events import from_note, project_event
from fairlead.controller.retries import Retries
from fairlead.errors import FairleadError, NotFoundError, RefusedError
from fairlead.observed import Observation, ReplicaSpec
from fairlead.plan.operations import Plan
from fairlead.plan.planner import Wanted
from fairlead.rollout import commands, release
from fairlead.rollout.commands import ApplyRoutes, Command
from fairlead.rollout.invariants import check
from fairlead.rollout.machine import Settled, step
from fairlead.rollout.notes import Note
from fairlead.rollout.pools import difference, settings_digest
from fairlead.rollout.state import ProjectState, TransactionPhase
from fairlead.rollout.timers import MARGIN_S, next_wake_s
from fairlead.routing import Route
from fairlead.store.base import Commit, Event, Intent, Severity, Store

SHOW_S = 0.5
"""How long the proxy may take to show what it said that it serves, until it is told again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One journalled command, to be carried out and then reported to :meth:`Core.settle`."""

    intent: int
    project: str
    command: Command


class Core:
    """All projects of this machine. Not thread-safe: one caller at a time."""

    def __init__(self, store: Store, *, holder: str, cores: int, now_s: float) -> None:
        """Take the lease and read the state. Intents of a predecessor are closed: what is observed decides."""
        self._store = store
        self._cores = cores
        self.epoch = store.acquire(holder)
        self.books = {name: taken_over(book, now_s) for name, book in read_books(store, cores).items()}
        self._open: dict[str, dict[str, int]] = {}
        self._retries = Retries()
        self._unsettled: dict[int, str] = {}
        self._routes_error: dict[str, str] = {}
        self._restless: set[str] = set()
        self._told: dict[str, tuple[tuple[Route, ...], float]] = {}
        self._believed: set[str] = set()
        stale = {intent.id: "the controller ended before it was known" for intent in store.open_intents()}
        if stale:
            store.commit(self.epoch, Commit(settled=stale))

    # What operators ask for

    def plan(self, request: UpRequest) -> Plan:
        """What :meth:`up` would do."""
        book = self.books.get(request.project.name)
        overrides = {**(book.project.scale if book is not None else {}), **requests.overrides_of(request)}
        return requests.plan_for(book, request.project.name, requests.wanted_by_file(request.project, overrides))

    def open_operation(
        self, project: str, kind: OperationKind, now_s: float, *, request: Mapping[str, object] | None = None
    ) -> Operation:
        """A new operation of ``project``, running; ``request`` is kept with it until it has become a release."""
        book = self._book_or_new(project)
        operation = Operation(
            id=f"{len(book.operations) + 1}-{int(now_s * 1000):x}",
            project=project,
            kind=kind,
            state=OperationState.RUNNING,
            first_event=self._last_event(),
            started_at_s=now_s,
        )
        after = book.with_operation(operation)
        if request is not None:
            after = replace(after, requests={**after.requests, operation.id: dict(request)})
        self._commit(after, now_s)
        return operation

    def close_operation(
        self, project: str, operation_id: str, state: OperationState, message: str, now_s: float
    ) -> None:
        """End an operation that never became a release."""
        book = self.book(project)
        operation = self.operation(project, operation_id)
        ended = replace(operation, state=state, message=message, ended_at_s=now_s)
        kept = {key: value for key, value in book.requests.items() if key != operation_id}
        self._commit(replace(book.with_operation(ended), requests=kept), now_s)

    def up(self, request: UpRequest, operation_id: str, engine: str, now_s: float) -> Operation:
        """Begin the release that ``request`` asks for, as the operation opened before."""
        book = self.book(request.project.name)
        if book.gone:
            project = ProjectState(name=book.name, engine=engine)
            book = Book(project=project, operations=book.operations, requests=book.requests)
        overrides = {**book.project.scale, **requests.overrides_of(request)}
        project = changed(book.project, files=request.project.files, engine=engine, scale=overrides)
        again = frozenset(request.project.services) if request.force_recreate else frozenset[str]()
        wanted = requests.wanted_by_file(request.project, project.scale, again=again)
        return self._release(replace(book, project=project), operation_id, wanted, "up", now_s)

    def deploy(
        self, project: str, service: str, image: str | None, environment: Mapping[str, str], now_s: float
    ) -> Operation:
        """Begin a release of ``service`` with another image or environment."""
        book = self._running(project)
        wanted = requests.revised(book, service, image, environment)
        operation = self.open_operation(project, OperationKind.DEPLOY, now_s)
        return self._release(self.book(project), operation.id, wanted, "deploy", now_s)

    def rollback(self, project: str, number: int | None, now_s: float) -> Operation:
        """Take back the release under way, or begin one to an earlier release."""
        book = self._running(project)
        transaction = book.project.transaction
        active = (TransactionPhase.RUNNING, TransactionPhase.PAUSED)
        if number is None and transaction is not None and transaction.phase in active:
            return self._abort(book, now_s)
        number = requests.earlier_release(book) if number is None else number
        wanted = requests.wanted_by_release(book, number)
        operation = self.open_operation(project, OperationKind.ROLLBACK, now_s)
        return self._release(self.book(project), operation.id, wanted, "rollback", now_s, f"to release {number}")

    def restart(self, project: str, services: tuple[str, ...], now_s: float) -> Operation:
        """Begin a release that exchanges every replica of ``services`` (all where none is named)."""
        book = self._running(project)
        known = requests.current_targets(book)
        for service in services:
            if service not in known:
                raise NotFoundError(f"{project} has no service {service!r}", hint=f"services: {', '.join(known)}")
        wanted = requests.wanted_now(book, again=frozenset(services or known))
        operation = self.open_operation(project, OperationKind.RESTART, now_s)
        return self._release(self.book(project), operation.id, wanted, "restart", now_s)

    def scale(self, project: str, numbers: Mapping[str, int], now_s: float) -> Operation:
        """Set numbers of replicas."""
        after = requests.set_scale(self._running(project), numbers)
        operation = self.open_operation(project, OperationKind.SCALE, now_s)
        after = replace(after, operations=self.book(project).operations)
        text = ", ".join(f"{name}={count}" for name, count in sorted(numbers.items()))
        self._commit(after, now_s, events=[project_event(after, "scale", f"scale {text}", now_s)])
        return operation

    def pause(self, project: str, now_s: float) -> None:
        """Hold rollouts where they are; healing goes on."""
        book = self._running(project)
        after = replace(book, project=changed(book.project, paused=True))
        self._commit(after, now_s, events=[project_event(after, "paused", "rollouts are paused", now_s)])

    def resume(self, project: str, now_s: float) -> None:
        """Let rollouts go on, those too that a failure paused."""
        book = self._running(project)
        state, services = release.resume(book.project, book.services, now_s)
        after = outcomes.mirror_release(replace(book, project=state, services=services), now_s)
        self._commit(after, now_s, events=[project_event(after, "resumed", "rollouts go on", now_s)])

    def down(self, project: str, volumes: bool, now_s: float) -> Operation:
        """Take the whole project away."""
        self._running(project)
        operation = self.open_operation(project, OperationKind.DOWN, now_s)
        book = self.book(project)
        state = changed(book.project, leaving=True, remove_volumes=volumes, paused=False)
        # What was asked for before and has not begun never will.
        after = outcomes.supersede_operations(replace(book, project=state, requests={}), operation, now_s)
        self._commit(after, now_s, events=[project_event(after, "down", "goes down", now_s)])
        return operation

    def adopt(self, project: str, engine: str, specs: Sequence[ReplicaSpec], now_s: float) -> None:
        """Take over a project that runs and that the store does not know; nothing happens to one it knows."""
        if project in self.books and not self.books[project].gone:
            return
        book = adopted(project, engine, specs, self._cores, now_s)
        if book is not None:
            before = self._book_or_new(project)
            book = replace(book, operations=before.operations, requests=before.requests)
            what = f"found {len(specs)} replicas without a record of them, and goes on with them as release 1"
            self._commit(book, now_s, events=[project_event(book, "adopted", what, now_s)])

    # What the world answers

    def observe(self, observation: Observation, now_s: float) -> tuple[Order, ...]:
        """One cycle of one project: the commands to carry out now, journalled."""
        book = self.books.get(observation.project)
        if book is None or book.gone:
            return ()
        unchanging = self._has_taken_effect(observation, now_s)
        result = release.step_project(
            book.project, book.services, observation, book.definitions, now_s, unchanging=unchanging
        )
        after = book
        if result.project is not book.project or result.services is not book.services:
            after = replace(book, project=result.project, services=result.services)
        alarms = (
            check((book.project, book.services), (result.project, result.services), observation, book.definitions)
            if after is not book
            else ()
        )
        after = outcomes.mirror_release(after, now_s)
        if result.gone:
            after = Book(project=after.project, operations=after.operations, requests=after.requests, gone=True)
            self._retries.forget(book.name)
        after = outcomes.settle_operations(after, observation, now_s)
        self._retries.keep_only(book.name, {c.key for c in result.commands}.union(self._open.get(book.name, ())))
        wanted = [
            c for c in result.commands if self._is_due(book.name, c, now_s) and not self._was_just_told(book, c, now_s)
        ]
        self._restless.discard(book.name)
        broken = (Note(kind="invariant-violated", message=text, service="", level="error") for text in alarms)
        return self._commit(after, now_s, orders=wanted, notes=(*result.notes, *broken))

    def settle(self, project: str, intent: int, command: Command, error: FairleadError | None, now_s: float) -> None:
        """A command was carried out, or failed."""
        self._open.get(project, {}).pop(command.key, None)
        self._unsettled[intent] = error.message if error else ""
        book = self.books.get(project)
        if book is None:
            return
        if book.gone:
            self._commit(book, now_s)
            return
        giving_up = self._retries.note(project, command.key, error, now_s)
        if error is not None and not giving_up:
            self._commit(book, now_s)
            return
        after, notes = self._take_outcome(book, command, error, now_s)
        self._commit(after, now_s, notes=notes)

    def _take_outcome(
        self, book: Book, command: Command, error: FairleadError | None, now_s: float
    ) -> tuple[Book, tuple[Note, ...]]:
        if isinstance(command, ApplyRoutes):
            return self._routes_settled(book, command, error, now_s)
        state = book.services.get(command.service)
        if state is None:
            return book, ()
        text = _text(error)
        result = step(state, Settled(command=command, error=text), book.definitions, now_s)
        services = {**book.services, command.service: result.state}
        notes = result.notes
        if error is not None and not notes:
            what = f"{command.key}: {text}"
            notes = (Note(kind="command-failed", message=what, service=command.service, level="warning"),)
        return replace(book, services=services), notes

    def _has_taken_effect(self, observation: Observation, now_s: float) -> bool:
        """Whether the proxy has shown what it was last told, so that nothing older can come into effect any more.

        False until this controller has told it something: its predecessor may have asked for more than is known.
        """
        name = observation.project
        if name in self._told:
            routes, at_s = self._told[name]
            taken_at_s = now_s if observation.taken_at_s is None else observation.taken_at_s
            if (
                observation.routes_known
                and taken_at_s >= at_s
                and not difference(routes, observation.routes, settings_digest(routes))
            ):
                del self._told[name]
                self._believed.add(name)
        return name in self._believed or not any(d.routes for d in self.books[name].definitions.values())

    def _was_just_told(self, book: Book, command: Command, now_s: float) -> bool:
        """The proxy said a moment ago that it serves exactly this: give it a little time to show it."""
        told = self._told.get(book.name)
        return (
            isinstance(command, ApplyRoutes)
            and told is not None
            and (now_s - told[1] < SHOW_S and told[0] == command.routes)
        )

    def _routes_settled(
        self, book: Book, command: ApplyRoutes, error: FairleadError | None, now_s: float
    ) -> tuple[Book, tuple[Note, ...]]:
        if error is None:
            self._told[book.name] = (command.routes, now_s)
            self._routes_error.pop(book.name, None)
            digest = settings_digest(command.routes)
            if digest == book.project.applied_routes:
                return book, ()
            return replace(book, project=changed(book.project, applied_routes=digest)), ()
        text = _text(error)
        project, services, _ = release.refuse_routes(book.project, book.services, book.definitions, text)
        repeated = self._routes_error.get(book.name) == text
        self._routes_error[book.name] = text
        notes = () if repeated else (Note(kind="routes-failed", message=text, service="", level="error"),)
        return replace(book, project=project, services=services), notes

    def tell(self, project: str, kind: str, message: str, now_s: float) -> None:
        """Store one event about a project."""
        book = self.book(project)
        self._commit(book, now_s, events=[project_event(book, kind, message, now_s)])

    def tell_last_words(self, project: str, replica_id: str, lines: list[str], now_s: float) -> None:
        """Store the end of what a replica that failed had said."""
        book = self.book(project)
        text = "\n".join([f"{replica_id} said last:", *(f"    {line}" for line in lines)])
        event = project_event(book, "replica-output", text, now_s)
        self._commit(book, now_s, events=[replace(event, replica_id=replica_id, severity=Severity.WARNING)])

    # Reading

    def has_failed(self, project: str, replica_id: str) -> bool:
        """Whether the replica has to go because it failed."""
        instances = (i for state in self.book(project).services.values() for i in state.instances)
        return any(instance.id == replica_id and instance.failure for instance in instances)

    def book(self, project: str) -> Book:
        """The book of ``project``.

        :raises NotFoundError: there never was such a project.
        """
        book = self.books.get(project)
        if book is None:
            known = ", ".join(sorted(name for name, other in self.books.items() if not other.gone)) or "none"
            raise NotFoundError(f"no project {project!r} is running here", hint=f"running projects: {known}")
        return book

    def present(self, project: str) -> Book:
        """The book of ``project``, of which something is here, be it on its way down.

        :raises NotFoundError: it is not here, or not yet.
        """
        book = self.book(project)
        if book.gone:
            raise NotFoundError(f"project {project!r} is not running", hint="`fairlead up` starts it")
        return book

    def operation(self, project: str, operation_id: str) -> Operation:
        """One operation.

        :raises NotFoundError: it never was, or is too old to be remembered.
        """
        operation = self.book(project).operations.get(operation_id)
        if operation is None:
            raise NotFoundError(f"{project} has no operation {operation_id}")
        return operation

    def replica_spec(self, order: Order) -> ReplicaSpec:
        """What the engine needs to carry out a :class:`~fairlead.rollout.commands.StartReplica`."""
        command = order.command
        assert isinstance(command, commands.StartReplica)
        definition = self.book(order.project).definitions[command.revision_id]
        return ReplicaSpec(
            id=command.replica_id,
            project=order.project,
            slot=command.slot,
            generation=command.generation,
            revision=definition.revision,
        )

    def open_keys(self, project: str) -> frozenset[str]:
        """The keys of the commands being carried out."""
        return frozenset(self._open.get(project, ()))

    def retry_at_s(self, project: str) -> float | None:
        """When the next failed command may be tried again."""
        return self._retries.next_at_s(project)

    def wake_at_s(self, project: str, now_s: float) -> float | None:
        """When :meth:`observe` may change something without any news; ``now_s`` where it should go on at once.

        None: nothing will happen by time alone.
        """
        book = self.books.get(project)
        if book is None or book.gone:
            return None
        if project in self._restless:
            return now_s
        moments = [next_wake_s(book.services, book.definitions, now_s), self._retries.next_at_s(project, after_s=now_s)]
        if project in self._told:
            moments.append(self._told[project][1] + SHOW_S + MARGIN_S)
        moments += [
            operation.started_at_s + outcomes.SCALE_DEADLINE_S + MARGIN_S
            for operation in book.operations.values()
            if operation.ended_at_s is None
        ]
        return min((moment for moment in moments if moment is not None and moment > now_s), default=None)

    # Writing

    def _running(self, project: str) -> Book:
        book = self.present(project)
        if book.project.leaving:
            raise RefusedError(f"project {project!r} is going down", hint="wait for `fairlead down` to end")
        return book

    def _book_or_new(self, project: str) -> Book:
        return self.books.get(project) or Book(project=ProjectState(name=project, engine=""), gone=True)

    def _release(
        self,
        book: Book,
        operation_id: str,
        wanted: Mapping[str, Wanted],
        kind: str,
        now_s: float,
        message: str = "",
    ) -> Operation:
        after, plan = requests.begin_release(book, kind, wanted, message, self._cores, now_s)
        operation = self.operation(book.name, operation_id)
        new = after.project.release != book.project.release
        operation = replace(operation, release=after.project.release, changed=new)
        after = outcomes.supersede_operations(after, operation, now_s).with_operation(operation)
        after = replace(after, requests={k: v for k, v in after.requests.items() if k != operation_id})
        events = []
        if new:
            what = ", ".join(f"{o.action} {o.service}" for o in plan.operations if o.action != "keep")
            events.append(project_event(after, "release", f"release {after.project.release} ({kind}): {what}", now_s))
        self._commit(after, now_s, events=events)
        return operation

    def _abort(self, book: Book, now_s: float) -> Operation:
        operation = self.open_operation(book.name, OperationKind.ROLLBACK, now_s)
        book = self.book(book.name)
        state, services = release.roll_back(
            book.project, book.services, book.definitions, "taken back by an operator", now_s
        )
        after = outcomes.mirror_release(replace(book, project=state, services=services), now_s)
        operation = replace(operation, release=book.project.release)
        after = after.with_operation(operation)
        self._commit(after, now_s, events=[project_event(after, "rollback", "the release is taken back", now_s)])
        return operation

    def _is_due(self, project: str, command: Command, now_s: float) -> bool:
        return command.key not in self._open.get(project, ()) and self._retries.is_due(project, command.key, now_s)

    def _last_event(self) -> int:
        newest = self._store.events(limit=1, last=True)
        return newest[-1].id if newest else 0

    def _commit(
        self,
        after: Book,
        now_s: float,
        *,
        orders: list[Command] | None = None,
        notes: tuple[Note, ...] = (),
        events: list[Event] | None = None,
    ) -> tuple[Order, ...]:
        """Write what differs and journal ``orders``; only then is ``after`` the truth.

        :raises StoreError: nothing was written and nothing has changed.
        """
        before = self.books.get(after.name)
        put, delete = ({}, []) if before is after else changes(before, after)
        told = [from_note(after, note, now_s) for note in notes] + (events or [])
        intents = [
            Intent(id=0, project=after.name, command=commands.to_document(command), at_s=now_s)
            for command in orders or ()
        ]
        if put or delete or told or intents or self._unsettled:
            commit = Commit(put=put, delete=delete, intents=intents, settled=dict(self._unsettled), events=told)
            ids = self._store.commit(self.epoch, commit)
            self._unsettled.clear()
        else:
            ids = ()
        if put or delete:
            self._restless.add(after.name)
        self.books[after.name] = after
        given = tuple(Order(intent=i, project=after.name, command=c) for i, c in zip(ids, orders or (), strict=True))
        for order in given:
            self._open.setdefault(after.name, {})[order.command.key] = order.intent
            if isinstance(order.command, ApplyRoutes):
                self._told.pop(after.name, None)
                self._believed.discard(after.name)
        return given


def _text(error: FairleadError | None) -> str:
    if error is None:
        return ""
    return f"{error.message} ({error.hint})" if error.hint else error.message


__all__ = ["Core", "Order", "Release"]
