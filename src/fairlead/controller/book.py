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

_NONE: Mapping[Any, Any] = {}


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


def changes(before: Book | None, after: Book) -> tuple[dict[Key, Written], list[Key]]:
    """What to put and what to delete so that the store says ``after`` where it said ``before``."""
    put: dict[Key, Written] = {}
    delete: list[Key] = []
    old = _documents(before) if before is not None else {}
    for kind, values in _documents(after).items():
        known = old.get(kind, _NONE)
        if values is known:
            continue
        for name, value in values.items():
            stored = known.get(name)
            if stored is not value and stored != value:
                put[_key(kind, after.name, name)] = value
        delete += [_key(kind, after.name, name) for name in known if name not in values]
    return put, sorted(delete)


def _documents(book: Book) -> dict[str, Mapping[Any, Any]]:
    """What the store should have of ``book``, by kind and name; mappings and values that have not changed since are
    the same objects."""
    return {
        "operation": book.operations,
        "request": book.requests,
        "service": _NONE if book.gone else book.services,
        "definition": _NONE if book.gone else book.stored,
        "release": _NONE if book.gone else book.releases,
        "project": _NONE if book.gone else {"": book.project},
    }


def _key(kind: str, project: str, name: Any) -> Key:
    if kind == "project":
        return (kind, project)
    return (kind, project, f"{name:06d}" if kind == "release" else name)


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
