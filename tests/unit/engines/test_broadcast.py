from __future__ import annotations

import gc

from fairlead.engines.base import EngineEvent, EngineEventKind
from fairlead.engines.broadcast import Broadcast


def changed(replica_id: str, detail: str = "") -> EngineEvent:
    return EngineEvent(kind=EngineEventKind.CHANGED, replica_id=replica_id, detail=detail)


async def test_a_slow_consumer_keeps_the_latest_of_each() -> None:
    broadcast = Broadcast()
    stream = broadcast.subscribe()
    for number in range(10_000):
        broadcast.publish(changed("a", str(number)))
        broadcast.publish(changed("b", str(number)))
    broadcast.close()
    assert [(event.replica_id, event.detail) async for event in stream] == [("a", "9999"), ("b", "9999")]


async def test_who_comes_after_the_end_gets_an_end() -> None:
    broadcast = Broadcast()
    broadcast.close()
    assert [event async for event in broadcast.subscribe()] == []


async def test_a_dropped_consumer_is_forgotten() -> None:
    broadcast = Broadcast()
    stream = broadcast.subscribe()
    assert len(broadcast._streams) == 1
    del stream
    gc.collect()
    assert len(broadcast._streams) == 0
