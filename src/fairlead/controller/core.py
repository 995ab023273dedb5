"""The synchronous heart of the controller: it decides and journals, and carries nothing out.

Driven by `runtime` (asyncio, the real world) and by the simulation (an event heap): both hand in observations and
outcomes, with the time, and get commands back. Every command that is handed out has been journalled in the same
commit as the state that follows from it; a commit that fails changes nothing and hands out nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from fairlead.controller import outcomes
from fairlead.controller.book import Book
from fairlead.controller.ledger import Order
from fairlead.controller.operators import Operators
from fairlead.controller.retries import Retries
from fairlead.errors import FairleadError
from fairlead.observed import Observation, ReplicaSpec
from fairlead.rollout import commands, release, steering
from fairlead.rollout.commands import ApplyRoutes, Command
from fairlead.rollout.glance import Glances
from fairlead.rollout.invariants import check
from fairlead.rollout.lifecycle import is_undecided
from fairlead.rollout.machine import Settled, step
from fairlead.rollout.notes import Note
from fairlead.rollout.pools import settings_digest
from fairlead.rollout.timers import MARGIN_S
from fairlead.store.base import Store


class Core(Operators):
    """All projects of this machine. Not thread-safe: one caller at a time.

    What operators ask for is in `operators`, the books and their commits in `ledger`; here is what the world answers.
    """

    def __init__(self, store: Store, *, holder: str, cores: int, now_s: float) -> None:
        super().__init__(store, holder=holder, cores=cores, now_s=now_s)
        self._retries = Retries()
        self._routes_error: dict[str, str] = {}
        self._looked_at_s: dict[str, float] = {}
        self._empty: set[str] = set()
        self._glances: dict[str, Glances] = {}

    def observe(self, observation: Observation, now_s: float, *, put_away: bool = True) -> tuple[Order, ...]:
        """One cycle of one project: the commands to carry out now, journalled.

        ``put_away``: what the project leaves behind (networks, a router of its own) is gone. Until then it is not.
        """
        name = observation.project
        book = self.books.get(name)
        if book is None or book.gone:
            return ()
        taken_at_s = now_s if observation.taken_at_s is None else observation.taken_at_s
        if taken_at_s < self._looked_at_s.get(name, taken_at_s):
            return ()  # A newer look has overtaken this one, and what it shows may be over.
        self._looked_at_s[name] = taken_at_s
        unchanging = self._told.has_taken_effect(observation, book.definitions.values(), now_s)
        glances = self._glances_at(name)
        result = release.step_project(
            book.project, book.services, observation, book.definitions, now_s, unchanging=unchanging, glances=glances
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
        self._empty.discard(name)
        if result.gone and not put_away:
            self._empty.add(name)
        elif result.gone:
            after = Book(project=after.project, operations=after.operations, requests=after.requests, gone=True)
            self._retries.forget(name)
            del self._glances[name]
        after = outcomes.settle_operations(after, observation, now_s)
        self._retries.keep_only(name, result.commands, self._open.get(name, ()))
        wanted = [
            c for c in result.commands if self._is_due(name, c, now_s) and not self._told.has_to_show(name, c, now_s)
        ]
        self._restless.discard(name)
        notes = result.notes
        if alarms:
            notes += tuple(Note(kind="invariant-violated", message=a, service="", level="error") for a in alarms)
        orders = self._commit(after, now_s, orders=wanted, notes=notes)
        if taken_at_s < now_s and any(is_undecided(state, taken_at_s, now_s) for state in after.services.values()):
            self._restless.add(name)
        return orders

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

    def _routes_settled(
        self, book: Book, command: ApplyRoutes, error: FairleadError | None, now_s: float
    ) -> tuple[Book, tuple[Note, ...]]:
        if error is None:
            self._told.answered(book.name, command.routes, now_s)
            self._routes_error.pop(book.name, None)
            digest = settings_digest(command.routes)
            if digest == book.project.applied_routes:
                return book, ()
            return replace(book, project=replace(book.project, applied_routes=digest)), ()
        text = _text(error)
        services, _ = steering.refuse_routes(book.project, book.services, command.release, text)
        repeated = self._routes_error.get(book.name) == text
        self._routes_error[book.name] = text
        notes = () if repeated else (Note(kind="routes-failed", message=text, service="", level="error"),)
        return replace(book, services=services), notes

    # Reading

    def has_failed(self, project: str, replica_id: str) -> bool:
        """Whether the replica has to go because it failed."""
        instances = (i for state in self.book(project).services.values() for i in state.instances)
        return any(instance.id == replica_id and instance.failure for instance in instances)

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

    def is_empty(self, project: str) -> bool:
        """Whether nothing of ``project`` is left but what has to be put away."""
        return project in self._empty

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
        by_time_s = self._glances_at(project).next_wake_s(book.services, book.definitions, now_s)
        moments = [by_time_s, self._retries.next_at_s(project, after_s=now_s)]
        moments += [moment + MARGIN_S for moment in self._told.moments_s(project)]
        moments += [
            operation.started_at_s + outcomes.SCALE_DEADLINE_S + MARGIN_S
            for operation in book.operations.values()
            if operation.ended_at_s is None
        ]
        return min([moment for moment in moments if moment is not None and moment > now_s], default=None)

    def _glances_at(self, project: str) -> Glances:
        found = self._glances.get(project)
        if found is None:
            found = self._glances[project] = Glances()
        return found

    def _is_due(self, project: str, command: Command, now_s: float) -> bool:
        return command.key not in self._open.get(project, ()) and self._retries.is_due(project, command.key, now_s)


def _text(error: FairleadError | None) -> str:
    if error is None:
        return ""
    return f"{error.message} ({error.hint})" if error.hint else error.message


__all__ = ["Core", "Order"]
