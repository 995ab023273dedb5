"""One project as the controller remembers it, and its form in the store.

Used by `core`: the memory of a project is a :class:`Book`; every change goes to the store as the documents that
differ, in one commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from fairlead.controller.controls import Operation
from fairlead.rollout.clocks import project_restarted, service_restarted
from fairlead.rollout.definition import Definition, definition_of
from fairlead.rollout.state import ProjectState, ServiceState, Target, from_document
from fairlead.spec.revision import Revision
from fairlead.store.base import Document, Key, Store, Written

OPERATIONS_KEPT = 20
RELEASES_KEPT = 100


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered release. ``state``: running, paused, rolling-back, succeeded, rolled-back, failed, superseded."""

    number: int
    kind: str
    state: str
    targets: Mapping[str, Target]
    message: str = ""
    started_at_s: float
    ended_at_s: float | None = None


class StoredDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """What a definition is made from; its rules are worked out again when it is read."""

    revision: Revision
    job: bool


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one project. ``definitions`` has each definition under its own id and, the newest of
    each, under its revision's id; ``requests`` are operations that have not become a release yet."""

    project: ProjectState
    services: Mapping[str, ServiceState] = {}
    stored: Mapping[str, StoredDefinition] = {}
    definitions: Mapping[str, Definition] = {}
    releases: Mapping[int, Release] = {}
    operations: Mapping[str, Operation] = {}
    requests: Mapping[str, Document] = {}
    gone: bool = False

    @property
    def name(self) -> str:
        return self.project.name

    def with_definitions(self, added: Mapping[str, StoredDefinition], cores: int) -> Book:
        """This book with more definitions known, by definition id."""
        stored = dict(self.stored)
        definitions = dict(self.definitions)
        for key in added:
            stored[key] = added[key]
            made = definition_of(self.name, added[key].revision, cores=cores, job=added[key].job)
            definitions[key] = made
            definitions[added[key].revision.id] = made
        return replace(self, stored=stored, definitions=definitions)

    def with_operation(self, operation: Operation) -> Book:
        """This book with ``operation`` new or changed; old ended ones are forgotten."""
        operations = dict(self.operations) | {operation.id: operation}
        ended = [o for o in operations.values() if o.ended_at_s is not None]
        ended.sort(key=lambda o: (o.started_at_s, o.id))
        for old in ended[: max(0, len(operations) - OPERATIONS_KEPT)]:
            del operations[old.id]
        return replace(self, operations=operations)


def documents(book: Book, other: Book | None = None) -> dict[Key, Any]:
    """Every document of ``book`` as its value, by key; not encoded, so that unchanged ones compare by identity.

    Without those that ``other`` holds as the same object, whole kinds at a time.
    """
    name = book.name
    if other is not None and other.gone != book.gone:
        other = None
    kinds: list[tuple[str, Mapping[Any, Any], Mapping[Any, Any] | None]] = [
        ("operation", book.operations, other.operations if other else None),
        ("request", book.requests, other.requests if other else None),
    ]
    if not book.gone:
        kinds += [
            ("service", book.services, other.services if other else None),
            ("definition", book.stored, other.stored if other else None),
            ("release", book.releases, other.releases if other else None),
        ]
    found: dict[Key, Any] = {}
    for kind, values, same in kinds:
        if values is not same:
            found |= {(kind, name, f"{k:06d}" if kind == "release" else k): value for k, value in values.items()}
    if not book.gone and (other is None or other.project is not book.project):
        found["project", name] = book.project
    return found


def changes(before: Book | None, after: Book) -> tuple[dict[Key, Written], list[Key]]:
    """What to put and what to delete so that the store says ``after`` where it said ``before``."""
    old = documents(before, after) if before is not None else {}
    new = documents(after, before)
    put = {key: new[key] for key in new if key not in old or (old[key] is not new[key] and old[key] != new[key])}
    return put, sorted(set(old) - set(new))


def taken_over(book: Book, now_s: float) -> Book:
    """``book`` for a controller that starts at ``now_s``."""
    return replace(
        book,
        project=project_restarted(book.project, now_s),
        services={name: service_restarted(state, now_s) for name, state in book.services.items()},
        operations={
            key: replace(operation, started_at_s=min(operation.started_at_s, now_s))
            for key, operation in book.operations.items()
        },
    )


def read_books(store: Store, cores: int) -> dict[str, Book]:
    """Every project in the store, by name."""
    books: dict[str, Book] = {}
    for key, document in store.documents("project").items():
        books[key[1]] = _read(store, from_document(document, ProjectState), cores)
    for key, document in store.documents("operation").items():
        name = key[1]
        if name not in books:
            books[name] = Book(project=ProjectState(name=name, engine=""), gone=True)
        operation = msgspec.convert(document, Operation)
        books[name] = replace(books[name], operations=dict(books[name].operations) | {operation.id: operation})
    for key, document in store.documents("request").items():
        books[key[1]] = replace(books[key[1]], requests={**books[key[1]].requests, key[2]: document})
    return books


def _read(store: Store, project: ProjectState, cores: int) -> Book:
    def of(kind: str) -> dict[str, Document]:
        return {key[2]: document for key, document in store.documents(kind, project.name).items()}

    book = Book(
        project=project,
        services={name: from_document(document, ServiceState) for name, document in of("service").items()},
        releases={int(name): from_document(document, Release) for name, document in of("release").items()},
    )
    stored = {name: from_document(document, StoredDefinition) for name, document in of("definition").items()}
    return book.with_definitions(stored, cores)
