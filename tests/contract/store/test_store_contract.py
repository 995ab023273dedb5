"""What every store promises, whichever keeps the state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fairlead.errors import StoreConflictError, StoreError
from fairlead.store.base import Commit, Event, Intent, IntentState, Severity, Store
from fairlead.store.documents import Limits

OpenStore = Callable[..., Store]


def event(number: int, project: str = "shop") -> Event:
    return Event(project=project, kind="test", message=f"event {number}", at_s=float(number))


def intent(number: int, project: str = "shop") -> Intent:
    return Intent(id=0, project=project, command={"kind": "start", "number": number}, at_s=float(number))


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.documents("service") == {}
    assert store.open_intents() == ()
    assert store.events() == ()


def test_each_lease_has_the_next_epoch(store: Store) -> None:
    assert [store.acquire("a"), store.acquire("b"), store.acquire("a")] == [1, 2, 3]


def test_documents_come_back_as_json_in_order_of_their_keys(store: Store) -> None:
    epoch = store.acquire("a")
    put: dict[tuple[str, ...], dict[str, Any]] = {
        ("service", "shop", "web"): {"steps": (1, 2), "deep": {"x": None, "y": 1.5, "z": "ü"}},
        ("service", "shop", "api"): {},
        ("service", "blog", "web"): {"a": True},
        ("project", "shop"): {"name": "shop"},
    }
    store.commit(epoch, Commit(put=put))
    assert list(store.documents("service")) == [
        ("service", "blog", "web"),
        ("service", "shop", "api"),
        ("service", "shop", "web"),
    ]
    assert store.documents("service", "shop")["service", "shop", "web"] == {
        "steps": [1, 2],
        "deep": {"x": None, "y": 1.5, "z": "ü"},
    }
    assert store.documents("project") == {("project", "shop"): {"name": "shop"}}
    assert store.documents("release") == {}


def test_what_was_read_or_written_is_not_shared_with_the_store(store: Store) -> None:
    epoch = store.acquire("a")
    mine = {"list": [1]}
    store.commit(epoch, Commit(put={("service", "shop", "web"): mine}, intents=[intent(1)]))
    mine["list"].append(2)
    read = store.documents("service")["service", "shop", "web"]
    assert read == {"list": [1]}
    read["list"].append(3)
    assert store.documents("service")["service", "shop", "web"] == {"list": [1]}


class _Place(msgspec.Struct, frozen=True):
    name: str
    numbers: dict[int, float]


def test_a_struct_is_stored_as_the_mapping_of_its_fields(store: Store) -> None:
    epoch = store.acquire("a")
    key = ("service", "shop", "web")
    store.commit(epoch, Commit(put={key: _Place(name="here", numbers={1: 0.5})}))
    assert store.documents("service") == {key: {"name": "here", "numbers": {"1": 0.5}}}


def test_a_document_is_replaced_and_deleted(store: Store) -> None:
    epoch = store.acquire("a")
    key = ("service", "shop", "web")
    store.commit(epoch, Commit(put={key: {"n": 1}}))
    store.commit(epoch, Commit(put={key: {"n": 2}}))
    assert store.documents("service") == {key: {"n": 2}}
    store.commit(epoch, Commit(delete=[key, ("service", "shop", "unknown")]))
    assert store.documents("service") == {}


def test_a_key_both_deleted_and_put_is_there(store: Store) -> None:
    epoch = store.acquire("a")
    key = ("service", "shop", "web")
    store.commit(epoch, Commit(put={key: {"n": 1}}))
    store.commit(epoch, Commit(put={key: {"n": 2}}, delete=[key]))
    assert store.documents("service") == {key: {"n": 2}}


@pytest.mark.parametrize("key", [(), ("service",), ("service", ""), ("service", "shop", ""), ("a", "b", "c", "d")])
def test_what_is_no_key_is_refused(store: Store, key: tuple[str, ...]) -> None:
    epoch = store.acquire("a")
    with pytest.raises(ValueError, match="a key is"):
        store.commit(epoch, Commit(put={key: {}}, events=[event(1)]))
    assert store.events() == ()


def test_intents_get_growing_ids_and_stay_open_until_settled(store: Store) -> None:
    epoch = store.acquire("a")
    first = store.commit(epoch, Commit(intents=[intent(1), intent(2, "blog")]))
    second = store.commit(epoch, Commit(intents=[intent(3)]))
    assert (first, second) == ((1, 2), (3,))
    assert [found.id for found in store.open_intents()] == [1, 2, 3]
    assert [found.id for found in store.open_intents("shop")] == [1, 3]
    assert store.open_intents("blog") == (
        Intent(id=2, project="blog", command={"kind": "start", "number": 2}, state=IntentState.INTENDED, at_s=2.0),
    )

    store.commit(epoch, Commit(settled={1: "", 2: "no such image"}))
    assert [found.id for found in store.open_intents()] == [3]
    store.commit(epoch, Commit(settled={1: ""}))
    assert [found.id for found in store.open_intents()] == [3]


def test_settling_an_unknown_intent_writes_nothing(store: Store) -> None:
    epoch = store.acquire("a")
    store.commit(epoch, Commit(intents=[intent(1)]))
    with pytest.raises(StoreError, match="intent 7 is not in the journal"):
        store.commit(epoch, Commit(put={("service", "shop", "web"): {}}, settled={1: "", 7: ""}, events=[event(1)]))
    assert store.documents("service") == {}
    assert store.events() == ()
    assert [found.id for found in store.open_intents()] == [1]


def test_a_document_that_is_not_json_writes_nothing(store: Store) -> None:
    epoch = store.acquire("a")
    bad = Commit(
        put={("service", "shop", "api"): {"n": 1}, ("service", "shop", "web"): {"n": object()}},
        intents=[intent(1)],
        events=[event(1)],
    )
    with pytest.raises(TypeError):
        store.commit(epoch, bad)
    assert (store.documents("service"), store.open_intents(), store.events()) == ({}, (), ())
    assert store.commit(epoch, Commit(intents=[intent(1)])) == (1,)


def test_a_writer_without_the_lease_changes_nothing(store: Store) -> None:
    old = store.acquire("a")
    store.commit(old, Commit(intents=[intent(1)]))
    new = store.acquire("b")
    commit = Commit(put={("service", "shop", "web"): {}}, intents=[intent(2)], settled={1: ""}, events=[event(1)])
    for epoch in (old, new + 1, 0):
        with pytest.raises(StoreConflictError, match="another controller"):
            store.commit(epoch, commit)
    assert (store.documents("service"), store.events()) == ({}, ())
    assert [found.id for found in store.open_intents()] == [1]
    assert store.commit(new, commit) == (2,)


def test_events_are_read_forwards_and_from_the_end(store: Store) -> None:
    epoch = store.acquire("a")
    store.commit(epoch, Commit(events=[event(n, "shop" if n % 2 else "blog") for n in range(1, 11)]))

    def ids(**arguments: Any) -> list[int]:
        return [found.id for found in store.events(**arguments)]

    assert ids() == list(range(1, 11))
    assert ids(project="shop") == [1, 3, 5, 7, 9]
    assert ids(after=7) == [8, 9, 10]
    assert ids(after=3, limit=2) == [4, 5]
    assert ids(limit=3, last=True) == [8, 9, 10]
    assert ids(project="blog", limit=2, last=True) == [8, 10]
    assert ids(project="blog", after=8, limit=5, last=True) == [10]
    assert ids(limit=0) == ids(limit=0, last=True) == []
    assert ids(project="nobody") == []


def test_an_event_comes_back_whole(store: Store) -> None:
    epoch = store.acquire("a")
    whole = Event(
        project="shop",
        kind="replica",
        message="über",
        at_s=12.25,
        severity=Severity.ERROR,
        service="web",
        replica_id="shop.web.1",
        release=7,
        data={"status": 137, "why": ["oom"]},
    )
    store.commit(epoch, Commit(events=[whole]))
    (found,) = store.events()
    assert found.id == 1
    assert found == msgspec.structs.replace(whole, id=1)


def test_text_that_utf8_cannot_hold_is_kept_readable(store: Store) -> None:
    epoch = store.acquire("a")
    (number,) = store.commit(epoch, Commit(intents=[intent(1)]))
    odd = Event(project="shop", kind="log", message="bad \udcff byte", at_s=0.0)
    store.commit(epoch, Commit(settled={number: "bad \udcff byte"}, events=[odd]))
    assert store.events()[0].message == "bad ? byte"


def test_history_is_bounded_and_open_intents_are_kept(open_store: OpenStore) -> None:
    limits = Limits(events=20, intents=10, slack=5)
    store = open_store(limits)
    epoch = store.acquire("a")
    (forgotten,) = store.commit(epoch, Commit(intents=[intent(0)]))
    for number in range(100):
        ids = store.commit(epoch, Commit(intents=[intent(number)], events=[event(number)]))
        store.commit(epoch, Commit(settled=dict.fromkeys(ids, "")))
        assert len(store.events()) <= limits.events + limits.slack
    newest = [found.id for found in store.events()]
    assert newest == list(range(newest[0], 101))
    assert len(newest) >= limits.events
    assert [found.id for found in store.open_intents()] == [forgotten]
    with pytest.raises(StoreError, match="not in the journal"):
        store.commit(epoch, Commit(settled={forgotten + 1: ""}))
    store.commit(epoch, Commit(settled={100: ""}))


def test_ids_go_on_growing_after_pruning(open_store: OpenStore) -> None:
    store = open_store(Limits(events=1, intents=1, slack=1))
    epoch = store.acquire("a")
    for number in range(1, 6):
        assert store.commit(epoch, Commit(intents=[intent(number)], events=[event(number)])) == (number,)
        store.commit(epoch, Commit(settled={number: ""}))
        assert store.events(last=True, limit=1)[0].id == number


def test_readers_see_whole_commits(open_store: OpenStore) -> None:
    """A second thread reads while the first writes; two documents that change together never differ."""
    store = open_store()
    epoch = store.acquire("a")
    keys = [("service", "shop", "api"), ("service", "shop", "web")]
    store.commit(epoch, Commit(put={key: {"n": 0} for key in keys}))
    seen: set[tuple[int, ...]] = set()
    begun, ended = threading.Event(), threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(tuple(document["n"] for document in store.documents("service").values()))
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert begun.wait(30)
        for number in range(1, 200):
            store.commit(epoch, Commit(put={key: {"n": number} for key in keys}))
    finally:
        ended.set()
        reader.join(30)
    assert all(first == second for first, second in seen)
