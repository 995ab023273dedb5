"""What is followed: events of the store and logs of replicas, as they come.

Used by `runtime`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from fairlead import logs
from fairlead.engines.base import Engine, LogLine
from fairlead.errors import EngineError, EngineUnavailableError
from fairlead.store.base import Event, Store

PAGE = 500
EVENTS_POLL_S = 0.05
NEW_REPLICAS_POLL_S = 0.5
WAITING_LINES = 1000

_log = logs.room("controller.feeds")


async def follow_events(
    store: Store, project: str | None, *, after: int, last: int | None, follow: bool
) -> AsyncIterator[Event]:
    """Events with an id above ``after`` (or only the ``last`` ones), oldest first; with ``follow`` for ever."""
    if last is not None:
        newest = store.events(project, after=after, limit=max(last, 1), last=True)
        after = newest[-1].id if newest else after
        for event in newest[max(len(newest) - last, 0) :]:
            yield event
    while True:
        page = store.events(project, after=after, limit=PAGE)
        for event in page:
            after = event.id
            yield event
        if len(page) < PAGE:
            if not follow:
                return
            await asyncio.sleep(EVENTS_POLL_S)


async def merged_logs(
    engine: Engine, replica_ids: Callable[[], Sequence[str]], *, follow: bool, tail: int | None
) -> AsyncIterator[LogLine]:
    """The output of several replicas; with ``follow`` of those too that come later.

    Without ``follow`` in the order of time; with it as it comes.
    """
    if not follow:
        lines = [line for replica_id in replica_ids() for line in await _all(engine, replica_id, tail)]
        for line in sorted(lines, key=lambda line: line.time_s):
            yield line
        return
    queue: asyncio.Queue[LogLine] = asyncio.Queue(WAITING_LINES)
    async with asyncio.TaskGroup() as group:
        finder = group.create_task(_follow_each(group, engine, replica_ids, tail, queue))
        try:
            while True:
                yield await queue.get()
        finally:
            finder.cancel()


async def _all(engine: Engine, replica_id: str, tail: int | None) -> list[LogLine]:
    """What one replica has said; nothing where its log cannot be read, so that the others are heard.

    :raises EngineUnavailableError: no log can be read now.
    """
    try:
        return [line async for line in engine.logs(replica_id, tail=tail)]
    except EngineUnavailableError:
        raise
    except EngineError as error:
        _log.warning("no log to show", replica=replica_id, error=error.message)
        return []


async def _follow_each(
    group: asyncio.TaskGroup,
    engine: Engine,
    replica_ids: Callable[[], Sequence[str]],
    tail: int | None,
    queue: asyncio.Queue[LogLine],
) -> None:
    followed: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            wanted = replica_ids()
            for replica_id in [known for known in followed if known not in wanted and followed[known].done()]:
                del followed[replica_id]
            for replica_id in wanted:
                if replica_id not in followed:
                    followed[replica_id] = group.create_task(_into(queue, engine, replica_id, tail))
            await asyncio.sleep(NEW_REPLICAS_POLL_S)
    finally:
        for task in followed.values():
            task.cancel()


async def _into(queue: asyncio.Queue[LogLine], engine: Engine, replica_id: str, tail: int | None) -> None:
    """Hand on what one replica says until it is gone, across times in which the engine does not answer."""
    newest_s = 0.0
    while True:
        shown_until_s = newest_s
        try:
            async for line in engine.logs(replica_id, follow=True, tail=None if shown_until_s else tail):
                # A log that is opened again begins with lines that were shown before.
                if not shown_until_s or line.time_s > shown_until_s:
                    newest_s = max(newest_s, line.time_s)
                    await queue.put(line)
            return
        except EngineUnavailableError:
            await asyncio.sleep(NEW_REPLICAS_POLL_S)
        except EngineError as error:
            _log.warning("no log to follow", replica=replica_id, error=error.message)
            return
