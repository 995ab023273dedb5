"""The loop of one project: observe, step, carry out, wait for a reason to look again.

Made by `runtime`, one for each project. Reasons are events of the engine and the router, changed verdicts of
probes, finished commands, requests of operators, and the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from fairlead import logs
from fairlead.clock import Clock
from fairlead.controller.adapters import Adapters
from fairlead.controller.book import Book
from fairlead.controller.core import Core, Order
from fairlead.controller.execute import Executor
from fairlead.controller.observe import observe
from fairlead.engines.base import Engine
from fairlead.errors import FairleadError, StoreConflictError
from fairlead.observed import Observation
from fairlead.probes.runner import HealthMonitor
from fairlead.rollout import commands
from fairlead.rollout.states import InstancePhase
from fairlead.routers.base import Router
from fairlead.store.base import Severity

POLL_S = 0.05
"""How often a project is looked at while something drains: the proxy's counts are not pushed."""

REST_S = 5.0
"""The longest a project goes without being looked at."""

TROUBLE_S = 1.0
CLEAN_UP_ATTEMPTS = 5
CLEAN_UP_TIMEOUT_S = 60.0
LOG_TAIL_LINES = 8

_log = logs.room("controller.driver")


class Driver:
    """Keeps one project where it should be."""

    def __init__(
        self,
        project: str,
        core: Core,
        adapters: Adapters,
        monitor: HealthMonitor,
        executor: Executor,
        clock: Clock,
    ) -> None:
        self.project = project
        self._core = core
        self._adapters = adapters
        self._monitor = monitor
        self._executor = executor
        self._clock = clock
        self._reason = asyncio.Event()
        self._over: set[str] = set()
        self._looked = asyncio.Event()
        self._put_away = False
        self.last_observation: Observation | None = None

    def wake(self) -> None:
        """There is a reason to look."""
        self._reason.set()

    async def first_look(self, timeout_s: float) -> Observation | None:
        """The last observation; waits for the first one after a start, None where there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._looked.wait()
        except TimeoutError:
            pass
        return self.last_observation

    async def run(self) -> None:
        """Until the project is gone.

        :raises StoreConflictError: another controller has taken over.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                self._reason.clear()
                wait_s = await self._cycle(group)
                if self._core.book(self.project).gone:
                    break
                if self._core.is_empty(self.project):
                    await self._clean_up()
                else:
                    self._put_away = False
                    await self._wait(wait_s)

    async def _wait(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._reason.wait()
        except TimeoutError:
            pass

    async def _cycle(self, group: asyncio.TaskGroup) -> float:
        """One look and its consequences; how long to wait at most for the next."""
        book = self._core.book(self.project)
        self._over.clear()
        try:
            engine = self._adapters.engine(book.project.engine)
            router = self._adapters.router(book.project.engine)
            observation = await observe(book, engine, router, self._monitor, self._clock.now_s())
            observation = _without(observation, self._over)
            self.last_observation = observation
            self._looked.set()
            orders = self._core.observe(observation, self._clock.now_s(), put_away=self._put_away)
        except StoreConflictError:
            raise
        except FairleadError as error:
            _log.warning("cannot look", project=self.project, error=error.message)
            return TROUBLE_S
        except Exception:
            # Whatever is wrong with one project must not end the care for all others.
            _log.exception("cannot look", project=self.project)
            return TROUBLE_S
        for order in orders:
            group.create_task(self._carry_out(order, engine, router))
        return self._pause_s(self._core.book(self.project))

    def _pause_s(self, book: Book) -> float:
        now_s = self._clock.now_s()
        if any(i.phase is InstancePhase.DRAINING for s in book.services.values() for i in s.instances):
            return POLL_S
        wake_at_s = self._core.wake_at_s(self.project, now_s)
        return REST_S if wake_at_s is None else min(REST_S, max(POLL_S, wake_at_s - now_s))

    async def _carry_out(self, order: Order, engine: Engine, router: Router) -> None:
        command = order.command
        if isinstance(command, commands.RemoveReplica):
            await self._keep_last_words(order, engine)
            self._monitor.forget(command.replica_id)
        error = await self._executor.carry_out(order, engine, router)
        try:
            self._core.settle(self.project, order.intent, command, error, self._clock.now_s())
        except StoreConflictError:
            raise
        except FairleadError as trouble:
            _log.warning("cannot write down", command=command.key, error=trouble.message)
        except Exception:
            _log.exception("cannot take note", command=command.key)
        if isinstance(command, commands.StopReplica | commands.RemoveReplica) and error is None:
            self._over.add(command.replica_id)
        self._reason.set()

    async def _keep_last_words(self, order: Order, engine: Engine) -> None:
        """A replica that failed is about to be forgotten: keep the end of what it said.

        Without it the replica goes all the same, for whatever reason it cannot be had.
        """
        command = order.command
        assert isinstance(command, commands.RemoveReplica)
        if not self._core.has_failed(self.project, command.replica_id):
            return
        try:
            async with asyncio.timeout(TROUBLE_S):
                lines = [line.text async for line in engine.logs(command.replica_id, tail=LOG_TAIL_LINES)]
            if lines:
                self._core.tell_last_words(self.project, command.replica_id, lines, self._clock.now_s())
        except StoreConflictError:
            raise
        except Exception as error:
            _log.warning("no log to keep", replica=command.replica_id, error=f"{type(error).__name__}: {error}")

    @property
    def is_cleaning_up(self) -> bool:
        """Whether the project is empty, and what it leaves behind is being put away."""
        return self._core.is_empty(self.project) or self._core.book(self.project).gone

    async def _clean_up(self) -> None:
        """Put away what the project leaves behind. What cannot be is told, and does not keep the project."""
        project = self._core.book(self.project).project
        engine, router = self._adapters.engine(project.engine), self._adapters.router(project.engine)
        await self._tried("the router cannot be stopped", router.shutdown)
        await self._tried(
            "not everything could be removed",
            lambda: engine.cleanup(self.project, volumes=project.remove_volumes),
        )
        self._put_away = True

    async def _tried(self, trouble: str, work: Callable[[], Awaitable[None]]) -> None:
        for attempt in range(CLEAN_UP_ATTEMPTS):
            try:
                async with asyncio.timeout(CLEAN_UP_TIMEOUT_S):
                    await work()
                return
            except Exception as error:
                text = error.message if isinstance(error, FairleadError) else f"{type(error).__name__}: {error}"
                _log.warning(trouble, project=self.project, error=text)
                again = isinstance(error, FairleadError) and error.retryable
            if not again or attempt == CLEAN_UP_ATTEMPTS - 1:
                break
            await asyncio.sleep(TROUBLE_S)
        try:
            message = f"{trouble}: {text}"
            self._core.tell(self.project, "cleanup-failed", message, self._clock.now_s(), Severity.WARNING)
        except StoreConflictError:
            raise
        except FairleadError as error:
            _log.warning("cannot write down", project=self.project, error=error.message)


def _without(observation: Observation, over: set[str]) -> Observation:
    """The observation without replicas that were stopped or removed while it was made: it may show them running."""
    if not over:
        return observation
    kept = tuple(replica for replica in observation.replicas if replica.id not in over)
    return replace(observation, replicas=kept)
