"""A controller that dies where a test says, in a sandbox, on any engine; and what is there afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fairlead.api.client import Client, ConnectionLostError, NotRunningError
from fairlead.controller.controls import ReplicaRow, UpRequest
from fairlead.errors import DeadlineError, FairleadError, NotFoundError
from fairlead.settings import Settings
from fairlead.spec.model import Project

from .sandbox import Sandbox

PROJECT = "shop"
FACT_TIMEOUT_S = 60.0
_LOOK_INTERVAL_S = 0.02
_AWAY = (ConnectionLostError, NotRunningError, DeadlineError)

Moment = Literal["before", "after"]
State = dict[str, tuple[int, int, frozenset[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    number: int
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} the effect of command {self.number}"


class Mortal:
    """One home with a controller that can be killed at a :class:`Point`. ``listed``: replicas that the engine has."""

    def __init__(self, sandbox: Sandbox, engine: str, listed: Callable[[], set[str]]) -> None:
        self._sandbox = sandbox
        self._engine = engine
        self._listed = listed
        self._order = sandbox.directory / "crash"
        environment = sandbox.environment | {"FAIRLEAD_CRASH_AT": str(self._order), "FAIRLEAD_ENGINE": engine}
        self._settings = Settings.from_environ(environment)
        self.client = Client(self._settings.socket_path)
        self._settings.prepare()
        with (sandbox.directory / "heirs.log").open("wb") as log:
            self._heirs = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("heirs.py"))],
                env=environment, cwd=sandbox.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def close(self) -> None:
        """Everything down, the controller stopped, no heir left."""
        with contextlib.suppress(FairleadError):
            self.down()
            self.settle(lambda: self.state() == {}, "the end of the project")
        try:
            with contextlib.suppress(FairleadError):
                self.asked(self.client.stop_controller)
            self._heirs.wait(timeout=FACT_TIMEOUT_S)
        finally:
            self._heirs.kill()
            self._heirs.wait()

    def asked(self, call: Callable[[], object]) -> None:
        """Ask a controller, the next one where this one is away. An answer that is lost in a crash was a yes."""
        deadline_s = time.monotonic() + FACT_TIMEOUT_S
        while True:
            try:
                call()
                return
            except ConnectionLostError:
                return
            except NotRunningError:
                assert time.monotonic() < deadline_s, self.said()
                time.sleep(_LOOK_INTERVAL_S)

    def up(self, project: Project) -> None:
        self.asked(lambda: self.client.up(UpRequest(project=project, engine=self._engine)))

    def down(self) -> None:
        self.asked(lambda: self.client.down(PROJECT))

    def dies(self, point: Point, act: Callable[[], None], expect: Callable[[], bool], what: str) -> bool:
        """Do ``act`` with a controller that dies at ``point``; whether it came that far. ``expect`` is true then."""
        self._order.write_text(f"{point.number}:{point.moment}:{uuid.uuid4().hex}", encoding="ascii")
        act()
        self.settle(expect, f"{what}, when the controller dies {point}")
        died = not self._order.exists()
        self._order.unlink(missing_ok=True)
        return died

    def settle(self, expect: Callable[[], bool], what: str) -> None:
        """Until ``expect`` is true, nothing is under way any more, and the engine has what the controller says."""
        deadline_s = time.monotonic() + FACT_TIMEOUT_S
        while not self._is_settled(expect):
            assert time.monotonic() < deadline_s, f"{what}: {self.state()}, {sorted(self._listed())}\n{self.said()}"
            time.sleep(_LOOK_INTERVAL_S)

    def _is_settled(self, expect: Callable[[], bool]) -> bool:
        try:
            return expect() and not self._under_way() and self._listed() == {row.id for row in self.replicas()}
        except _AWAY:
            return False

    def replicas(self) -> tuple[ReplicaRow, ...]:
        try:
            return self.client.replicas(PROJECT)
        except NotFoundError:
            return ()

    def state(self) -> State:
        """By service: how many replicas there are, how many are ready, and of which revisions."""
        rows = self.replicas()
        return {
            name: (
                sum(row.service == name for row in rows),
                sum(row.service == name and row.state == "ready" for row in rows),
                frozenset(row.revision for row in rows if row.service == name),
            )
            for name in sorted({row.service for row in rows})
        }

    def said(self) -> str:
        return self._sandbox.controller_log() + (self._sandbox.directory / "heirs.log").read_text()[-2000:]

    def _under_way(self) -> int:
        """Operations that have not ended, and commands that are journalled and not known to be done."""
        with contextlib.closing(sqlite3.connect(self._settings.database_path)) as store:
            (open_intents,) = store.execute("SELECT count(*) FROM intents WHERE state = 'intended'").fetchone()
            documents = store.execute("SELECT body FROM documents WHERE kind = 'operation'").fetchall()
        return int(open_intents) + sum('"ended_at_s":null' in body for (body,) in documents)


def points(step: int) -> Iterator[Point]:
    """Every ``step``-th place at which a controller can die, without end."""
    number = 0
    while True:
        moment: Moment = "after" if number % 2 else "before"
        yield Point(number=number // 2 + 1, moment=moment)
        number += step
