"""Follow an operation to its end, across the end of the controller that carries it out.

Called by `cli.outcome`. What is shown is decided by a view (`cli.views`); what happens is decided by the
controller: going away from here never breaks a release.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from fairlead.api.client import Client, ConnectionLostError, NotRunningError
from fairlead.cli.feed import Ended, Feed
from fairlead.cli.session import Session
from fairlead.controller.controls import Operation, OperationKind, OperationState, ProjectStatus, ReplicaRow
from fairlead.errors import ControllerError, DeadlineError, NotFoundError
from fairlead.store.base import Event

_TICK_S = 0.2
_LOOK_INTERVAL_S = 1.0
_MOST_LOSSES = 10
_TAKEN_BACK = {
    "rolled-back": OperationState.ROLLED_BACK,
    "failed": OperationState.FAILED,
    "superseded": OperationState.FAILED,
}
_ENDED = (OperationState.SUCCEEDED, OperationState.ROLLED_BACK, OperationState.FAILED)


class View(Protocol):
    """Shows how an operation goes. ``wants_snapshots``: it draws what runs, not only what happened."""

    wants_snapshots: bool

    def event(self, event: Event) -> None: ...
    def snapshot(self, status: ProjectStatus, rows: Sequence[ReplicaRow]) -> None: ...
    def note(self, text: str) -> None: ...
    def tick(self) -> None: ...


class Follower:
    """Follows one operation; ``after`` is the last event that the view was given.

    ``settle``: follow its release until it is no longer watched. ``watch_left_s``: for how long it still was when
    following ended; ``was_watched``: whether it was at any time.
    """

    def __init__(
        self,
        session: Session,
        operation: Operation,
        view: View,
        timeout_s: float | None = None,
        *,
        settle: bool = False,
    ) -> None:
        self._session = session
        self._operation = operation
        self._view = view
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._held = False
        self._settle = settle
        self.watch_left_s = 0.0
        self.was_watched = False
        self.after = operation.first_event

    def to_end(self) -> Operation:
        """The operation as it ended, or as it is paused after a failure.

        :raises DeadlineError: it did not end in time; it goes on.
        """
        losses = 0
        while True:
            try:
                return self._watched(self._session.started())
            except (ConnectionLostError, NotRunningError) as error:
                losses += 1
                if losses > _MOST_LOSSES:
                    raise ControllerError(
                        f"the controller went away {losses} times while it was followed",
                        hint=f"its log says why: {self._session.settings.log_path}",
                    ) from error
                self._view.note("the controller went away; starting it again")

    def _watched(self, client: Client) -> Operation:
        project = self._operation.project
        next_look = 0.0
        with Feed() as feed:
            feed.open("events", client.events(project, after=self.after, follow=True))
            while True:
                news = feed.next(_TICK_S)
                if isinstance(news, Event):
                    self._show(news)
                    next_look = min(next_look, time.monotonic() + (0.0 if _may_be_the_end(news) else _TICK_S))
                elif isinstance(news, Ended):
                    raise news.error or ConnectionLostError("the controller ended the stream of events")
                if time.monotonic() >= next_look:
                    if self._look(client):
                        self._catch_up(client)
                        return self._operation
                    next_look = time.monotonic() + _LOOK_INTERVAL_S
                self._view.tick()
                self._check_deadline()

    def _look(self, client: Client) -> bool:
        """Ask for the operation and, if the view draws it, for what runs; whether the operation has ended."""
        try:
            self._operation = client.operation(self._operation.project, self._operation.id)
            status = client.project(self._operation.project)
        except NotFoundError:
            if self._operation.kind is OperationKind.DOWN and self._operation.state in _ENDED:
                return True
            raise
        if self._view.wants_snapshots:
            self._view.snapshot(status, client.replicas(self._operation.project))
        if self._operation.state is OperationState.PAUSED:
            return not self._is_held(status)
        if self._operation.state is OperationState.SUCCEEDED and self._operation.release is not None:
            return self._has_settled(client, self._operation.release)
        return self._operation.state in _ENDED

    def _has_settled(self, client: Client, number: int) -> bool:
        """Whether there is nothing more to wait for once the release serves; what became of it since then."""
        release = next((row for row in client.history(self._operation.project) if row.number == number), None)
        if release is None:
            return True
        self.watch_left_s = release.watch_left_s
        if release.watch_left_s and self._settle and not self.was_watched:
            self._catch_up(client)
            self._view.note(f"release {number} serves; watched for {release.watch_left_s:.0f} s more")
        self.was_watched = self.was_watched or release.watch_left_s > 0
        if not self._settle or release.state == "succeeded":
            return not (self._settle and release.watch_left_s)
        if release.state in _TAKEN_BACK:
            self._operation = replace(self._operation, state=_TAKEN_BACK[release.state], message=release.message)
        return release.state != "rolling-back"

    def _is_held(self, status: ProjectStatus) -> bool:
        """Whether a person paused it: then it goes on one day, and waiting for it makes sense."""
        if status.paused and not self._held:
            self._view.note(f"paused; `fairlead resume -p {status.name}` lets it go on")
        self._held = status.paused
        return status.paused

    def _catch_up(self, client: Client) -> None:
        """Show the events that were written with the operation's end and have not come yet."""
        for event in client.events(self._operation.project, after=self.after):
            self._show(event)

    def _show(self, event: Event) -> None:
        if event.id > self.after:
            self.after = event.id
            self._view.event(event)

    def _check_deadline(self) -> None:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise DeadlineError(
                f"it has not ended after {self._timeout_s:g} s; it goes on in the background",
                hint=f"fairlead status -p {self._operation.project}",
            )


def _may_be_the_end(event: Event) -> bool:
    """What is told of the release itself is written together with the end of its operation."""
    return event.kind.startswith("release-")
