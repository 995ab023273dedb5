"""Each contract test runs once for every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead.store.base import Store
from fairlead.store.documents import Limits
from fairlead.store.memory import MemoryStore
from fairlead.store.sqlite import SqliteStore

OpenStore = Callable[..., Store]


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens one more empty store with the limits given."""
    opened: list[Store] = []

    def make(limits: Limits | None = None) -> Store:
        store: Store
        if request.param == "memory":
            store = MemoryStore(limits)
        else:
            store = SqliteStore(tmp_path / f"state-{len(opened)}.db", limits)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()
