"""The books of all projects, and the one way to change them: a commit to the store, with the journal in it.

The ground that `operators` and `core` stand on. What is in memory is never ahead of the store: a commit that fails
changes nothing.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from fairlead.controller.book import Book, changes, read_books, taken_over
from fairlead.controller.controls import Operation
from fairlead.controller.events import from_note, project_event
from fairlead.controller.told import Told
from fairlead.errors import NotFoundError, StoreError
from fairlead.rollout.commands import ApplyRoutes, Command
from fairlead.rollout.notes import Note
from fairlead.rollout.state import ProjectState
from fairlead.store.base import Commit, Event, Intent, Severity, Store

NOTICE_S = 30.0
"""For how long a commit that failed is told: what waits to be written is tried again every few seconds."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One journalled command, to be carried out and then reported to :meth:`Core.settle`."""

    intent: int
    project: str
    command: Command


class Ledger:
    """All projects of this machine, by name."""

    def __init__(self, store: Store, *, holder: str, cores: int, now_s: float) -> None:
        """Take the lease and read the state. Intents of a predecessor are closed: what is observed decides."""
        self._store = store
        self._cores = cores
        self.epoch = store.acquire(holder)
        self.books = {name: taken_over(book, now_s) for name, book in read_books(store, cores).items()}
        self._open: dict[str, dict[str, int]] = {}
        self._unsettled: dict[int, str] = {}
        self._restless: set[str] = set()
        self._told = Told()
        self._unwritten: tuple[str, float] | None = None
        stale = {intent.id: "the controller ended before it was known" for intent in store.open_intents()}
        if stale:
            store.commit(self.epoch, Commit(settled=stale))

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

    def tell(self, project: str, kind: str, message: str, now_s: float, severity: Severity = Severity.INFO) -> None:
        """Store one event about a project."""
        book = self.book(project)
        event = project_event(book, kind, message, now_s)
        self._commit(book, now_s, events=[replace(event, severity=severity)])

    def tell_last_words(self, project: str, replica_id: str, lines: list[str], now_s: float) -> None:
        """Store the end of what a replica that failed had said."""
        book = self.book(project)
        text = "\n".join([f"{replica_id} said last:", *(f"    {line}" for line in lines)])
        event = project_event(book, "replica-output", text, now_s)
        self._commit(book, now_s, events=[replace(event, replica_id=replica_id, severity=Severity.WARNING)])

    def notice(self, now_s: float) -> str:
        """What everybody who reads should know beside it: that the store could not be written a moment ago."""
        if self._unwritten is None or now_s - self._unwritten[1] > NOTICE_S:
            return ""
        return self._unwritten[0]

    # Writing

    def confirm_lease(self, now_s: float) -> None:
        """See that no other controller has taken over, also while there is nothing to write.

        What became of commands and could not be written at the time is: where a project has gone, nothing else would.

        :raises StoreConflictError: one has.
        """
        self._write(Commit(settled=dict(self._unsettled)), now_s)
        self._unsettled.clear()

    def _write(self, commit: Commit, now_s: float) -> tuple[int, ...]:
        try:
            ids = self._store.commit(self.epoch, commit)
        except StoreError as error:
            text = f"{error.message} ({error.hint})" if error.hint else error.message
            self._unwritten = f"nothing can be decided or changed now: {text}", now_s
            raise
        return ids

    def _book_or_new(self, project: str) -> Book:
        return self.books.get(project) or Book(project=ProjectState(name=project, engine=""), gone=True)

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
        name = after.name
        before = self.books.get(name)
        if before is after and not (orders or notes or events or self._unsettled):
            return ()
        put, delete = ({}, []) if before is after else changes(before, after)
        told = [from_note(after, note, now_s) for note in notes] + (events or [])
        intents = [Intent(id=0, project=name, command=command, at_s=now_s) for command in orders or ()]
        if put or delete or told or intents or self._unsettled:
            commit = Commit(put=put, delete=delete, intents=intents, settled=dict(self._unsettled), events=told)
            ids = self._write(commit, now_s)
            self._unwritten = None
            self._unsettled.clear()
        else:
            ids = ()
        if put or delete:
            self._restless.add(name)
        self.books[name] = after
        given = tuple([Order(intent=i, project=name, command=c) for i, c in zip(ids, orders or (), strict=True)])
        for order in given:
            self._open.setdefault(name, {})[order.command.key] = order.intent
            if isinstance(order.command, ApplyRoutes):
                self._told.telling(name)
        return given
