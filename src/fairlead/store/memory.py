"""The store of tests and of the simulator: the same promises as `sqlite`, kept in memory.

Its state outlives a simulated controller, which makes a new epoch on the same object.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from msgspec.structs import replace

from fairlead.store import documents as written
from fairlead.store.base import Commit, Document, Event, Intent, IntentState, Key
from fairlead.store.documents import Limits


class MemoryStore:
    """Implements :class:`~fairlead.store.base.Store`. Any thread may call it; calls take turns."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._epoch = 0
        self._documents: dict[tuple[str, str, str], str] = {}
        self._intents: dict[int, Intent] = {}
        self._open: dict[int, Intent] = {}
        self._events: dict[int, Event] = {}
        self._last_intent = 0
        self._last_event = 0
        self._added = 0
        self._turn = threading.Lock()

    def acquire(self, holder: str) -> int:
        with self._turn:
            self._epoch += 1
            self._prune()
            return self._epoch

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        with self._turn:
            return self._commit(epoch, commit)

    def documents(self, kind: str, project: str | None = None) -> Mapping[Key, Document]:
        with self._turn:
            kept = sorted(self._documents.items())
        return {
            written.key_of(*place): written.decode(body)
            for place, body in kept
            if place[0] == kind and project in (None, place[1])
        }

    def open_intents(self, project: str | None = None) -> tuple[Intent, ...]:
        with self._turn:
            kept = sorted(self._open.items())
        return tuple(intent for _, intent in kept if project in (None, intent.project))

    def events(
        self, project: str | None = None, *, after: int = 0, limit: int = 1000, last: bool = False
    ) -> tuple[Event, ...]:
        with self._turn:
            kept = list(self._events.items())
        found = [event for number, event in kept if number > after and project in (None, event.project)]
        return tuple(found[-limit:] if last and limit else found[:limit])

    def close(self) -> None:
        """Nothing to let go of."""

    def _commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        if epoch != self._epoch:
            raise written.conflict(epoch, self._epoch)
        # Whatever can fail comes before the first change, so that a commit is never half done.
        put = {written.columns(key): written.encode(document) for key, document in commit.put.items()}
        deleted = [written.columns(key) for key in commit.delete]
        intents = [_stored_intent(intent, i) for i, intent in enumerate(commit.intents, self._last_intent + 1)]
        events = [_stored_event(event, i) for i, event in enumerate(commit.events, self._last_event + 1)]
        settled = [self._settled(intent_id, error) for intent_id, error in commit.settled.items()]

        for place in deleted:
            self._documents.pop(place, None)
        self._documents.update(put)
        for intent in settled:
            self._intents[intent.id] = intent
            self._open.pop(intent.id, None)
        self._append_events(events)
        ids = self._append_intents(intents)
        self._added += len(intents) + len(events)
        if self._added >= self._limits.slack:
            self._prune()
        return ids

    def _settled(self, intent_id: int, error: str) -> Intent:
        intent = self._intents.get(intent_id)
        if intent is None:
            raise written.unknown_intent(intent_id)
        state = IntentState.FAILED if error else IntentState.DONE
        return replace(intent, state=state, error=written.readable(error))

    def _append_intents(self, intents: list[Intent]) -> tuple[int, ...]:
        ids = []
        for intent in intents:
            self._last_intent = intent.id
            self._intents[intent.id] = intent
            if intent.state is IntentState.INTENDED:
                self._open[intent.id] = intent
            ids.append(intent.id)
        return tuple(ids)

    def _append_events(self, events: list[Event]) -> None:
        for event in events:
            self._last_event = event.id
            self._events[event.id] = event

    def _prune(self) -> None:
        self._added = 0
        oldest_event = self._last_event - self._limits.events
        oldest_intent = self._last_intent - self._limits.intents
        self._events = {number: event for number, event in self._events.items() if number > oldest_event}
        self._intents = {
            number: intent
            for number, intent in self._intents.items()
            if number > oldest_intent or intent.state is IntentState.INTENDED
        }


def _stored_intent(intent: Intent, intent_id: int) -> Intent:
    command = written.decode(written.encode(intent.command))
    return replace(intent, id=intent_id, command=command, error=written.readable(intent.error))


def _stored_event(event: Event, event_id: int) -> Event:
    data = written.decode(written.encode(event.data)) if event.data else {}
    return replace(event, id=event_id, message=written.readable(event.message), data=data)
