"""Stay with a project: its logs and events until Ctrl-C.

Called by `up` without ``-d`` once the release has ended, and by `logs` and `events` with ``-f``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fairlead.api.client import Client, ConnectionLostError, NotRunningError, Stream
from fairlead.cli.feed import Ended, Feed
from fairlead.cli.output import note, say
from fairlead.cli.paint import Tone, paint, symbol
from fairlead.cli.session import Session
from fairlead.cli.views import event_line
from fairlead.engines.base import LogLine
from fairlead.errors import NotFoundError
from fairlead.store.base import Event

_TICK_S = 0.5
_AGAIN_AFTER_S = 1.0
_LOOK_INTERVAL_S = 2.0
_TAIL_AGAIN = 100
_PREFIX_TONES = (Tone.BUSY, Tone.GOOD, Tone.WARN, Tone.STRONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What to stay with. ``after`` None: no events; ``logs`` False: no logs; ``tail``: lines a replica, None: all.

    ``last``: of the events that there are already, how many; None: all.
    """

    project: str | None
    services: Sequence[str] = ()
    after: int | None = None
    last: int | None = None
    logs: bool = True
    tail: int | None = None
    since_s: float = 0.0


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Ctrl-C ends the block in order: it is the way to end what follows."""
    try:
        yield
    except KeyboardInterrupt:
        return


class Attachment:
    """Prints what comes, across the end of a controller, until the project is gone or Ctrl-C comes."""

    def __init__(
        self,
        session: Session,
        subject: Subject,
        *,
        show_event: Callable[[Event], None] | None = None,
        show_log: Callable[[LogLine], None] | None = None,
    ) -> None:
        self._session = session
        self._subject = subject
        self._after = subject.after or 0
        self._tail = subject.tail
        self._cutoff_s = self._newest_log_s = subject.since_s
        self._show_event = show_event or (lambda event: say(event_line(event)))
        self._show_log = show_log or LogPrinter(subject.project)

    def run(self) -> None:
        """Stay until the project is gone; Ctrl-C comes through as KeyboardInterrupt."""
        while True:
            try:
                if self._watched(self._session.started()):
                    return
            except (ConnectionLostError, NotRunningError):
                note("the controller went away; starting it again")
            self._cutoff_s = self._newest_log_s
            self._tail = max(self._tail or 0, _TAIL_AGAIN)

    def _watched(self, client: Client) -> bool:
        """Print until a stream ends; whether there is nothing left to stay with."""
        with Feed() as feed:
            if self._subject.after is not None:
                last = None if self._after else self._subject.last
                feed.open("events", client.events(self._subject.project, after=self._after, last=last, follow=True))
            if self._subject.logs and self._subject.project:
                feed.open("logs", self._logs(client))
            next_look = time.monotonic() + _LOOK_INTERVAL_S
            while True:
                if time.monotonic() >= next_look:
                    if self._is_over(client):
                        return True
                    next_look = time.monotonic() + _LOOK_INTERVAL_S
                match feed.next(_TICK_S):
                    case Event() as event:
                        self._after = max(self._after, event.id)
                        self._show_event(event)
                    case LogLine() as line:
                        self._print_log(line)
                    case Ended(error=None):
                        # The stream has its own pace; to open it again at once could become a busy loop.
                        time.sleep(_AGAIN_AFTER_S)
                        return self._is_over(client)
                    case Ended(error=NotFoundError()):
                        return True
                    case Ended(error=error) if error is not None:
                        raise error

    def _logs(self, client: Client) -> Stream[LogLine]:
        assert self._subject.project is not None
        return client.logs(self._subject.project, self._subject.services, follow=True, tail=self._tail)

    def _print_log(self, line: LogLine) -> None:
        # A stream that was opened again starts with lines that were shown before.
        if line.time_s > self._cutoff_s:
            self._newest_log_s = max(self._newest_log_s, line.time_s)
            self._show_log(line)

    def _is_over(self, client: Client) -> bool:
        """Whether the project is gone."""
        name = self._subject.project
        return name is not None and name not in {status.name for status in client.projects()}


class LogPrinter:
    """Writes log lines, each behind the name of its replica."""

    def __init__(self, project: str | None) -> None:
        self._prefix = f"{project}." if project else ""
        self._tones: dict[str, Tone] = {}
        self._width = 0

    def __call__(self, line: LogLine) -> None:
        name = line.replica_id.removeprefix(self._prefix)
        tone = self._tones.setdefault(name, _PREFIX_TONES[len(self._tones) % len(_PREFIX_TONES)])
        self._width = max(self._width, len(name))
        say(f"{paint(name.ljust(self._width), tone)} {paint(symbol('bar'), Tone.DIM)} {line.text}")
