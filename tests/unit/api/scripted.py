"""A controller that follows a script: the other side of the API in the tests of `api` and `cli`.

It decides nothing. An operation plays its scenes, one each time the script is let on; what it has played stands
in a journal file, so that another process can go on where a killed one was.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from scenes import NEW, OLD, SCRIPTS, SUCCESS, Scene

from fairlead.controller.controls import (
    ControllerStatus,
    Operation,
    OperationKind,
    OperationState,
    ProcessRow,
    ProjectStatus,
    ReleaseRow,
    ReplicaRow,
    ServiceRow,
    StatsRow,
    UpRequest,
)
from fairlead.engines.base import CommandResult, LogLine
from fairlead.errors import NotFoundError, RefusedError
from fairlead.store.base import Event, Severity


@dataclass
class ScriptedControls:
    """Implements `controller.controls.Controls`.

    ``interval_s``: how long a scene lasts; None: until :meth:`let_on`; the name of a method: until somebody has
    asked for that, so that nobody can miss a scene.
    """

    scenes: Sequence[Scene] = SUCCESS
    interval_s: float | str | None = 0.0
    journal: Path | None = None
    home: str = "/home"
    on_stop: Callable[[], None] = lambda: None
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    written_logs: list[LogLine] = field(default_factory=list)
    broken: bool = False
    trouble: str = ""

    def notice(self) -> str:
        return self.trouble

    def __post_init__(self) -> None:
        self._events: list[Event] = []
        self._rows: tuple[ReplicaRow, ...] = ()
        self._operation: Operation | None = None
        self._phase = "steady"
        self._scene = Scene()
        self._paused = False
        self._down = False
        self._played = 0
        self._samples = 0
        self._let_on = asyncio.Semaphore(0)
        self._news = asyncio.Condition()
        self._asked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def restore(self) -> None:
        """Go on where the journal ends."""
        if self.journal is None or not self.journal.exists():
            return
        entry = json.loads(self.journal.read_text())
        self._begin(OperationKind(entry["kind"]), entry["started_at_s"])
        for scene in self.scenes[: entry["played"]]:
            await self._play_one(scene)
        self._play_rest()

    def let_on(self) -> None:
        self._let_on.release()

    async def write_log(self, text: str) -> None:
        async with self._news:
            self.written_logs.append(LogLine(replica_id="shop.api.3", stream="stdout", time_s=time.time(), text=text))
            self._news.notify_all()

    async def go_down(self) -> None:
        async with self._news:
            self._down = True
            self._news.notify_all()

    async def status(self) -> ControllerStatus:
        if self.broken:
            raise ZeroDivisionError("a secret detail")
        return ControllerStatus(
            pid=os.getpid(),
            version="0",
            epoch=1,
            home=self.home,
            started_at_s=time.time() - 60,
            projects=("shop",),
            memory_bytes=48 * 2**20,
            cpu_s=1.5,
        )

    async def projects(self) -> tuple[ProjectStatus, ...]:
        return () if self._down or self._operation is None else (await self.project("shop"),)

    async def project(self, project: str) -> ProjectStatus:
        self._known(project)
        self._was_asked("project")
        ready = sum(found.state == "ready" and found.revision == NEW for found in self._rows)
        service = ServiceRow(
            name="api",
            revision=NEW,
            replicas=2,
            ready=ready,
            phase=self._phase,
            message="",
            published=("http://0.0.0.0:8080 -> 8000",),
        )
        return ProjectStatus(
            name="shop",
            engine="process",
            state="running" if self._phase == "steady" else "releasing",
            release=2,
            services=(service,),
            operation=self._operation,
            paused=self._paused,
        )

    async def replicas(self, project: str | None = None) -> tuple[ReplicaRow, ...]:
        self._was_asked("replicas")
        return self._rows if project in (None, "shop") else ()

    async def stats(self, project: str) -> tuple[StatsRow, ...]:
        """Each sample is a second later; a replica uses a quarter of a core and gets ten requests meanwhile."""
        self._known(project)
        self._samples += 1
        return tuple(
            StatsRow(
                replica=found.id,
                service=found.service,
                at_s=100.0 + self._samples,
                cpu_s=0.25 * self._samples,
                memory_bytes=50 * 2**20,
                memory_limit_bytes=200 * 2**20,
                pids=3,
                in_flight=found.in_flight,
                requests=10 * self._samples,
                status={"1xx": 0, "2xx": 9 * self._samples, "3xx": 0, "4xx": 0, "5xx": self._samples},
            )
            for found in self._rows
        )

    async def processes(self, project: str) -> tuple[ProcessRow, ...]:
        self._known(project)
        return tuple(
            ProcessRow(
                replica=found.id,
                service=found.service,
                pid=found.pid or 0,
                parent=1,
                user="app",
                started_at_s=time.time() - 60,
                cpu_s=1.5,
                memory_bytes=2**20,
                command="serve --port 8000",
            )
            for found in self._rows
        )

    async def history(self, project: str) -> tuple[ReleaseRow, ...]:
        self._known(project)
        rows = []
        self._was_asked("history")
        for number, state in ((2, self._scene.release), (1, "superseded")):
            rows.append(
                ReleaseRow(
                    number=number,
                    kind="up",
                    state=state,
                    revisions={"api": NEW if number == 2 else OLD},
                    message="" if state in ("succeeded", "superseded") else "2 replicas failed soon after",
                    started_at_s=1_700_000_000.0,
                    ended_at_s=1_700_000_003.0,
                    current=number == 2,
                    watch_left_s=self._scene.watch_left_s if number == 2 else 0.0,
                )
            )
        return tuple(rows)

    async def operation(self, project: str, operation_id: str) -> Operation:
        self._known(project)
        if self._operation is None or self._operation.id != operation_id:
            raise NotFoundError(f"no operation {operation_id}")
        return self._operation

    async def plan(self, request: UpRequest) -> Mapping[str, Any]:
        self.calls.append(("plan", request))
        step = {
            "action": "create",
            "service": "api",
            "stage": 1,
            "before": None,
            "after": NEW,
            "replicas_before": 0,
            "replicas_after": 2,
            "cause": "it is new",
            "changes": [],
        }
        return {"project": request.project.name, "empty": False, "operations": [step]}

    async def up(self, request: UpRequest) -> Operation:
        return self._started(OperationKind.UP, request)

    async def deploy(self, project: str, service: str, image: str | None, environment: Mapping[str, str]) -> Operation:
        return self._started(OperationKind.DEPLOY, project, service, image, dict(environment))

    async def rollback(self, project: str, release: int | None) -> Operation:
        if release == 99:
            raise NotFoundError("there is no release 99", hint="fairlead history lists them")
        return self._started(OperationKind.ROLLBACK, project, release)

    async def restart(self, project: str, services: Sequence[str]) -> Operation:
        return self._started(OperationKind.RESTART, project, tuple(services))

    async def scale(self, project: str, replicas: Mapping[str, int]) -> Operation:
        if replicas.get("api", 0) > 1000:
            raise RefusedError("too many replicas", hint="ask for fewer")
        return self._started(OperationKind.SCALE, project, dict(replicas))

    async def pause(self, project: str) -> ProjectStatus:
        self._paused = True
        return await self.project(project)

    async def resume(self, project: str) -> ProjectStatus:
        self._paused = False
        return await self.project(project)

    async def down(self, project: str, volumes: bool) -> Operation:
        return self._started(OperationKind.DOWN, project, volumes)

    async def events(
        self, project: str | None, *, after: int = 0, last: int | None = None, follow: bool = False
    ) -> AsyncIterator[Event]:
        if project is not None:
            self._known(project)
        found = [event for event in self._events if event.id > after]
        for event in found if last is None else found[len(found) - min(last, len(found)) :]:
            yield event
            after = event.id
        while follow:
            async with self._news:
                while len(self._events) <= after:
                    await self._news.wait()
            for event in self._events[after:]:
                yield event
                after = event.id

    async def logs(
        self, project: str, services: Sequence[str], *, follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[LogLine]:
        self._known(project)
        sent = max(0, len(self.written_logs) - tail) if tail is not None else 0
        while True:
            for line in self.written_logs[sent:]:
                yield line
                sent += 1
            if not follow or self._down:
                return
            async with self._news:
                while len(self.written_logs) <= sent and not self._down:
                    await self._news.wait()

    async def run(self, project: str, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult:
        self.calls.append(("run", project, replica_id, tuple(argv), timeout_s))
        return CommandResult(status=int(argv[1]) if argv[0] == "exit" else 0, output="out\n", timed_out=False)

    async def stop_controller(self) -> None:
        self.on_stop()

    def _known(self, project: str) -> None:
        if project != "shop" or self._down:
            raise NotFoundError(f"there is no project `{project}`")

    def _started(self, kind: OperationKind, *call: Any) -> Operation:
        self.calls.append((str(kind), *call))
        operation = self._begin(kind, time.time())
        self._play_rest()
        return operation

    def _begin(self, kind: OperationKind, started_at_s: float) -> Operation:
        self._played = 0
        self._operation = Operation(
            id="op-1",
            project="shop",
            kind=kind,
            state=OperationState.RUNNING,
            release=2,
            first_event=len(self._events),
            started_at_s=started_at_s,
        )
        return self._operation

    def _play_rest(self) -> None:
        self._tasks.append(asyncio.ensure_future(self._play(self.scenes[self._played :])))

    async def _play(self, scenes: Sequence[Scene]) -> None:
        for scene in scenes:
            if isinstance(self.interval_s, str):
                await self._asked.wait()
            elif self.interval_s is None:
                await self._let_on.acquire()
            else:
                await asyncio.sleep(self.interval_s)
            await self._play_one(scene)

    async def _play_one(self, scene: Scene) -> None:
        assert self._operation is not None
        async with self._news:
            self._played += 1
            self._scene, self._phase, self._paused = scene, scene.phase, scene.paused
            if scene.rows is not None:
                self._rows = scene.rows
            if scene.says:
                self._events.append(
                    Event(
                        project="shop",
                        kind="scene",
                        message=scene.says,
                        at_s=time.time(),
                        severity=Severity(scene.severity),
                        service="api",
                        id=len(self._events) + 1,
                    )
                )
            ended = scene.state not in ("running", "paused")
            self._operation = replace(
                self._operation,
                state=OperationState(scene.state),
                message=scene.outcome,
                ended_at_s=time.time() if ended else None,
                error=scene.error.to_json() if scene.error is not None else None,
            )
            if self.journal is not None:
                entry = {
                    "kind": str(self._operation.kind),
                    "played": self._played,
                    "started_at_s": self._operation.started_at_s,
                }
                beside = self.journal.with_suffix(".new")
                beside.write_text(json.dumps(entry))
                beside.replace(self.journal)
            self._asked.clear()
            self._news.notify_all()

    def _was_asked(self, what: str) -> None:
        if what == self.interval_s:
            self._asked.set()


async def serve_script(home: Path, script: str, interval_s: float | str) -> None:
    """Serve ``script`` on the socket of ``home`` until asked to stop."""
    from fairlead.api.server import listening
    from fairlead.settings import Settings

    stop = asyncio.Event()
    settings = Settings.from_environ({"FAIRLEAD_HOME": str(home)})
    settings.prepare()
    settings.database_path.touch()
    journal = home / "script.json"
    scenes = SCRIPTS[script]
    if script == "CUT" and not journal.exists():
        scenes = scenes[:2]
    controls = ScriptedControls(
        scenes=scenes,
        interval_s=interval_s,
        journal=journal,
        home=str(home),
        on_stop=stop.set,
        written_logs=[LogLine(replica_id="shop.api.3", stream="stdout", time_s=time.time() + 1e6, text="hello")],
    )
    await controls.restore()
    async with listening(controls, settings.socket_path):
        await stop.wait()


if __name__ == "__main__":
    from tied import end_with

    end_with(int(sys.argv[4]))
    pace = sys.argv[3]
    asyncio.run(serve_script(Path(sys.argv[1]), sys.argv[2], pace if pace.isalpha() else float(pace)))
