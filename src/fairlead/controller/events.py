"""Notes of the machine and acts of operators, as events for the store.

Used by `core`.
"""

from __future__ import annotations

from fairlead.controller.book import Book
from fairlead.rollout.notes import Note
from fairlead.store.base import Event, Severity


def from_note(book: Book, note: Note, now_s: float) -> Event:
    """A note of the machine, with its time and release."""
    return Event(
        project=book.name,
        kind=note.kind,
        message=note.message,
        at_s=now_s,
        severity=Severity(note.level),
        service=note.service or None,
        replica_id=note.replica_id,
        release=book.project.release or None,
    )


def project_event(book: Book, kind: str, message: str, now_s: float) -> Event:
    """Something about a whole project."""
    return Event(project=book.name, kind=kind, message=message, at_s=now_s, release=book.project.release or None)
