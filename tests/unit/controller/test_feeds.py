"""Events and logs that are followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fairlead.controller import feeds
from fairlead.controller.feeds import follow_events, merged_logs
from fairlead.engines.base import LogLine
from fairlead.engines.memory import MemoryEngine
from fairlead.errors import EngineError, EngineUnavailableError
from fairlead.observed import ReplicaSpec
from fairlead.spec.model import Project
from fairlead.spec.revision import revision_of
from fairlead.store.base import Commit, Event
from fairlead.store.memory import MemoryStore

from .house import DEADLINE_S, eventually, service


class Events:
    """A store with events in it."""

    def __init__(self, count: int) -> None:
        self.store = MemoryStore()
        self._epoch = self.store.acquire("a test")
        self.add(count)

    def add(self, count: int, project: str = "shop") -> None:
        made = [Event(project=project, kind="test", message="", at_s=0.0) for _ in range(count)]
        self.store.commit(self._epoch, Commit(events=made))

    async def ids(self, **how: Any) -> list[int]:
        options = {"after": 0, "last": None, "follow": False} | how
        return [event.id async for event in follow_events(self.store, "shop", **options)]


@pytest.mark.parametrize(
    ("how", "ids"),
    [
        ({}, [1, 2, 3]),
        ({"after": 1}, [2, 3]),
        ({"after": 9}, []),
        ({"last": 0}, []),
        ({"last": 2}, [2, 3]),
        ({"last": 3}, [1, 2, 3]),
        ({"last": 4}, [1, 2, 3]),
        ({"last": 5}, [1, 2, 3]),
        ({"last": 100}, [1, 2, 3]),
    ],
)
async def test_events_that_are_there(how: dict[str, Any], ids: list[int]) -> None:
    assert await Events(3).ids(**how) == ids


async def test_there_may_be_no_events() -> None:
    events = Events(0)
    assert await events.ids() == []
    assert await events.ids(last=5) == []


async def test_more_events_than_a_page_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PAGE", 3)
    assert await Events(8).ids() == list(range(1, 9))


@pytest.mark.parametrize(("how", "first"), [({"after": 1}, [2, 3]), ({"last": 1}, [3]), ({"last": 0}, [])])
async def test_following_goes_on_with_what_comes(how: dict[str, Any], first: list[int]) -> None:
    events = Events(3)
    seen: list[int] = []

    async def follow() -> None:
        options = {"after": 0, "last": None} | how
        async for event in follow_events(events.store, "shop", follow=True, **options):
            seen.append(event.id)  # noqa: PERF401  (the test looks at it while it grows)

    following = asyncio.create_task(follow())
    # One turn, in which it looks what is there.
    await asyncio.sleep(0)
    assert seen == first
    events.add(1, project="blog")
    events.add(2)
    await eventually(lambda: seen == [*first, 5, 6], "what came later, of this project alone")
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


class Speaking(MemoryEngine):
    """Replicas that say what the test lets them; ``away``: the next logs raise these, one each."""

    def __init__(self) -> None:
        super().__init__()
        self.away: dict[str, EngineError] = {}

    async def begin(self, *numbers: int) -> None:
        api = service()
        project = Project(name="shop", working_dir="/srv", services={"api": api})
        for number in numbers:
            revision = revision_of(project, api)
            spec = ReplicaSpec(id=f"shop.api.{number}", project="shop", slot=number, generation=1, revision=revision)
            await self.start(spec)

    async def logs(self, replica_id: str, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[LogLine]:
        async for line in super().logs(replica_id, follow=follow, tail=tail):
            yield line
            if replica_id in self.away:
                raise self.away.pop(replica_id)


class Followed:
    """Logs as they come, read by one task."""

    def __init__(self, engine: Speaking, ids: list[str], tail: int | None = None) -> None:
        self.texts: list[str] = []
        self._task = asyncio.create_task(self._read(engine, ids, tail))

    async def _read(self, engine: Speaking, ids: list[str], tail: int | None) -> None:
        async for line in merged_logs(engine, lambda: ids, follow=True, tail=tail):
            self.texts.append(line.text)

    async def see(self, *texts: str) -> None:
        await eventually(lambda: sorted(self.texts) == sorted(texts), f"{texts}, not {self.texts}")

    async def end(self) -> None:
        self._task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(asyncio.CancelledError):
                await self._task


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "NEW_REPLICAS_POLL_S", 0.01)
    monkeypatch.setattr(feeds, "EVENTS_POLL_S", 0.01)


async def test_logs_of_several_replicas_are_merged_by_time() -> None:
    engine = Speaking()
    await engine.begin(1, 2)
    for number, text in ((1, "a"), (2, "b"), (1, "c")):
        engine.say(f"shop.api.{number}", text)
    ids = ["shop.api.2", "shop.api.1", "shop.api.99"]
    lines = [line async for line in merged_logs(engine, lambda: ids, follow=False, tail=None)]
    assert [line.time_s for line in lines] == sorted(line.time_s for line in lines)
    assert sorted(line.text for line in lines) == ["a", "b", "c"]
    last = [line.text async for line in merged_logs(engine, lambda: ids, follow=False, tail=1)]
    assert sorted(last) == ["b", "c"]


async def test_a_log_that_cannot_be_read_hides_no_other() -> None:
    engine = Speaking()
    await engine.begin(1, 2)
    engine.say("shop.api.1", "a")
    engine.say("shop.api.2", "b")
    engine.away["shop.api.1"] = EngineError("its file is damaged")
    ids = ["shop.api.1", "shop.api.2"]
    assert [line.text async for line in merged_logs(engine, lambda: ids, follow=False, tail=None)] == ["b"]
    engine.away["shop.api.1"] = EngineUnavailableError("no answer")
    with pytest.raises(EngineUnavailableError):
        [line async for line in merged_logs(engine, lambda: ids, follow=False, tail=None)]


async def test_following_takes_in_replicas_that_come_later() -> None:
    engine = Speaking()
    await engine.begin(1)
    engine.say("shop.api.1", "first")
    ids = ["shop.api.1"]
    followed = Followed(engine, ids)
    await followed.see("first")
    await engine.begin(2)
    engine.say("shop.api.2", "second")
    ids.append("shop.api.2")
    await followed.see("first", "second")
    await engine.stop("shop.api.1", 0.0)
    await engine.remove("shop.api.1")
    ids.remove("shop.api.1")
    engine.say("shop.api.2", "third")
    await followed.see("first", "second", "third")
    await followed.end()


async def test_following_begins_with_the_tail() -> None:
    engine = Speaking()
    await engine.begin(1)
    for text in ("a", "b", "c"):
        engine.say("shop.api.1", text)
    followed = Followed(engine, ["shop.api.1"], tail=1)
    await followed.see("c")
    engine.say("shop.api.1", "d")
    await followed.see("c", "d")
    await followed.end()


async def test_following_goes_on_when_the_engine_is_back_and_repeats_nothing() -> None:
    engine = Speaking()
    await engine.begin(1)
    engine.say("shop.api.1", "a")
    engine.away["shop.api.1"] = EngineUnavailableError("no answer")
    followed = Followed(engine, ["shop.api.1"])
    await eventually(lambda: not engine.away, "it broke off")
    engine.say("shop.api.1", "b")
    await followed.see("a", "b")
    await followed.end()
