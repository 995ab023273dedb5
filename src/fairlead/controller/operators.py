"""What operators ask for, one method an operation: the first half of `core`.

Each is journalled as an operation whose end `core` tells when the world has answered, in one commit with what it
changes; what is refused is refused before anything changed. Only `up` has an operation before it has a release, since
its preparations take their time, and keeps the request with it until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from fairlead.controller import outcomes, requests
from fairlead.controller.adopt import adopted
from fairlead.controller.book import Book
from fairlead.controller.controls import Operation, OperationKind, OperationState, UpRequest
from fairlead.controller.events import project_event
from fairlead.controller.ledger import Ledger
from fairlead.errors import FairleadError, RefusedError
from fairlead.observed import ReplicaSpec
from fairlead.plan.operations import Action, Plan
from fairlead.plan.planner import Wanted
from fairlead.rollout import steering
from fairlead.rollout.state import ProjectState, TransactionPhase
from fairlead.routing import RouteStatus
from fairlead.spec.report import unknown_service
from fairlead.spec.revision import Revision

_STARTING = (Action.CREATE, Action.UPDATE, Action.RERUN)


class Operators(Ledger):
    """The books, and the ways in which a person changes what they ask for."""

    def plan(self, request: UpRequest) -> Plan:
        """What :meth:`up` would do."""
        book = self.books.get(request.project.name)
        overrides = {**(book.project.scale if book is not None else {}), **requests.overrides_of(request)}
        return requests.plan_for(
            book, request.project.name, requests.wanted_by_request(book, request.project, overrides)
        )

    def open_operation(
        self, project: str, kind: OperationKind, now_s: float, *, request: Mapping[str, object] | None = None
    ) -> Operation:
        """A new operation of ``project``, running; ``request`` is kept with it until it has become a release."""
        book = self._book_or_new(project)
        operation = self._opened(book, kind, now_s)
        after = book.with_operation(operation)
        if request is not None:
            after = replace(after, requests={**after.requests, operation.id: dict(request)})
        self._commit(after, now_s)
        return operation

    def close_operation(
        self,
        project: str,
        operation_id: str,
        state: OperationState,
        message: str,
        now_s: float,
        *,
        error: FairleadError | None = None,
    ) -> None:
        """End an operation that never became a release; ``error``: what stood in the way."""
        book = self.book(project)
        operation = self.operation(project, operation_id)
        why = None if error is None else error.to_json()
        ended = replace(operation, state=state, message=message, ended_at_s=now_s, error=why)
        kept = {key: value for key, value in book.requests.items() if key != operation_id}
        self._commit(replace(book.with_operation(ended), requests=kept), now_s)

    def up(self, request: UpRequest, operation_id: str, engine: str, now_s: float) -> Operation:
        """Begin the release that ``request`` asks for, as the operation opened before."""
        book = self.book(request.project.name)
        if book.gone:
            project = ProjectState(name=book.name, engine=engine)
            book = Book(project=project, operations=book.operations, requests=book.requests)
        overrides = {**book.project.scale, **requests.overrides_of(request)}
        project = replace(book.project, files=request.project.files, engine=engine, scale=overrides)
        again = frozenset(request.project.services) if request.force_recreate else frozenset[str]()
        wanted = requests.wanted_by_request(book, request.project, project.scale, again=again)
        operation = self.operation(book.name, operation_id)
        return self._release(replace(book, project=project), operation, wanted, "up", now_s)

    def deploy(
        self, project: str, service: str, image: str | None, environment: Mapping[str, str], now_s: float
    ) -> Operation:
        """Begin a release of ``service`` with another image or environment."""
        book = self._running(project)
        wanted = self.wanted_by_deploy(project, service, image, environment)
        operation = self._opened(book, OperationKind.DEPLOY, now_s)
        return self._release(book, operation, wanted, "deploy", now_s)

    def rollback(self, project: str, number: int | None, now_s: float) -> Operation:
        """Take back the release under way, or begin one to an earlier release."""
        book = self._running(project)
        if number is None and _is_under_way(book):
            return self._abort(book, now_s)
        number = requests.earlier_release(book) if number is None else number
        wanted = requests.wanted_by_release(book, number)
        operation = self._opened(book, OperationKind.ROLLBACK, now_s)
        return self._release(book, operation, wanted, "rollback", now_s, f"to release {number}")

    def restart(self, project: str, services: tuple[str, ...], now_s: float) -> Operation:
        """Begin a release that exchanges every replica of ``services`` (all where none is named)."""
        book = self._running(project)
        wanted = self.wanted_by_restart(project, services)
        operation = self._opened(book, OperationKind.RESTART, now_s)
        return self._release(book, operation, wanted, "restart", now_s)

    def wanted_by_deploy(
        self, project: str, service: str, image: str | None, environment: Mapping[str, str]
    ) -> dict[str, Wanted]:
        """What :meth:`deploy` would go to."""
        return requests.revised(self._running(project), service, image, environment)

    def wanted_by_rollback(self, project: str, number: int | None) -> dict[str, Wanted]:
        """What :meth:`rollback` would go to; nothing where it takes back the release under way."""
        book = self._running(project)
        if number is None and _is_under_way(book):
            return {}
        return requests.wanted_by_release(book, requests.earlier_release(book) if number is None else number)

    def wanted_by_restart(self, project: str, services: tuple[str, ...]) -> dict[str, Wanted]:
        """What :meth:`restart` would go to."""
        book = self._running(project)
        known = requests.current_targets(book)
        for service in services:
            if service not in known:
                raise unknown_service(project, service, known)
        return requests.wanted_now(book, again=frozenset(services or known))

    def coming(self, project: str, wanted: Mapping[str, Wanted]) -> tuple[Revision, ...]:
        """The revisions of which a release to ``wanted`` starts replicas."""
        made = requests.plan_for(self._running(project), project, wanted) if wanted else None
        operations = made.operations if made is not None else ()
        return tuple([wanted[o.service].revision for o in operations if o.action in _STARTING])

    def scale(self, project: str, numbers: Mapping[str, int], now_s: float) -> Operation:
        """Set numbers of replicas."""
        book = self._running(project)
        operation = self._opened(book, OperationKind.SCALE, now_s)
        after = requests.set_scale(book, numbers).with_operation(operation)
        text = ", ".join(f"{name}={count}" for name, count in sorted(numbers.items()))
        self._commit(after, now_s, events=[project_event(after, "scale", f"scale {text}", now_s)])
        return operation

    def pause(self, project: str, now_s: float) -> None:
        """Hold rollouts where they are; healing goes on."""
        book = self._running(project)
        after = replace(book, project=replace(book.project, paused=True))
        self._commit(after, now_s, events=[project_event(after, "paused", "rollouts are paused", now_s)])

    def resume(self, project: str, now_s: float) -> None:
        """Let rollouts go on, those too that a failure paused."""
        book = self._running(project)
        state, services = steering.resume(book.project, book.services, now_s)
        after = outcomes.mirror_release(replace(book, project=state, services=services), now_s)
        self._commit(after, now_s, events=[project_event(after, "resumed", "rollouts go on", now_s)])

    def down(self, project: str, volumes: bool, now_s: float) -> Operation:
        """Take the whole project away."""
        book = self._running(project)
        operation = self._opened(book, OperationKind.DOWN, now_s)
        state = replace(book.project, leaving=True, remove_volumes=volumes, paused=False)
        # What was asked for before and has not begun never will.
        after = outcomes.supersede_operations(replace(book, project=state, requests={}), operation, now_s)
        after = after.with_operation(operation)
        self._commit(after, now_s, events=[project_event(after, "down", "goes down", now_s)])
        return operation

    def adopt(
        self,
        project: str,
        engine: str,
        specs: Sequence[ReplicaSpec],
        routes: Mapping[str, RouteStatus],
        now_s: float,
    ) -> None:
        """Take over a project that runs and that the store does not know; nothing happens to one it knows."""
        if project in self.books and not self.books[project].gone:
            return
        book = adopted(project, engine, specs, routes, self._cores, now_s)
        if book is not None:
            before = self._book_or_new(project)
            book = replace(book, operations=before.operations, requests=before.requests)
            what = f"found {len(specs)} replicas without a record of them, and goes on with them as release 1"
            self._commit(book, now_s, events=[project_event(book, "adopted", what, now_s)])

    def _opened(self, book: Book, kind: OperationKind, now_s: float) -> Operation:
        """The next operation of ``book``, running, not written yet."""
        return Operation(
            id=f"{_next_number(book)}-{int(now_s * 1000):x}",
            project=book.name,
            kind=kind,
            state=OperationState.RUNNING,
            first_event=self._last_event(),
            started_at_s=now_s,
        )

    def _running(self, project: str) -> Book:
        book = self.present(project)
        if book.project.leaving:
            raise RefusedError(f"project {project!r} is going down", hint="wait for `fairlead down` to end")
        return book

    def _release(
        self,
        book: Book,
        operation: Operation,
        wanted: Mapping[str, Wanted],
        kind: str,
        now_s: float,
        message: str = "",
    ) -> Operation:
        after, plan = requests.begin_release(book, kind, wanted, message, self._cores, now_s)
        new = after.project.release != book.project.release
        operation = replace(operation, release=after.project.release, changed=new)
        after = outcomes.supersede_operations(after, operation, now_s).with_operation(operation)
        after = replace(after, requests={k: v for k, v in after.requests.items() if k != operation.id})
        events = []
        if new:
            what = ", ".join(f"{o.action} {o.service}" for o in plan.operations if o.action != "keep")
            events.append(project_event(after, "release", f"release {after.project.release} ({kind}): {what}", now_s))
        self._commit(after, now_s, events=events)
        return operation

    def _abort(self, book: Book, now_s: float) -> Operation:
        operation = self._opened(book, OperationKind.ROLLBACK, now_s)
        state, services = steering.roll_back(
            book.project, book.services, book.definitions, "taken back by an operator", now_s
        )
        after = outcomes.mirror_release(replace(book, project=state, services=services), now_s)
        operation = replace(operation, release=book.project.release)
        after = after.with_operation(operation)
        self._commit(after, now_s, events=[project_event(after, "rollback", "the release is taken back", now_s)])
        return operation


def _is_under_way(book: Book) -> bool:
    transaction = book.project.transaction
    return transaction is not None and transaction.phase in (TransactionPhase.RUNNING, TransactionPhase.PAUSED)


def _next_number(book: Book) -> int:
    """One more than any operation that is remembered has: a count of them stands still once the oldest are dropped."""
    return 1 + max((int(operation_id.partition("-")[0]) for operation_id in book.operations), default=0)
