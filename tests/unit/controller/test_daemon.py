"""The controller's process: how it ends."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.api import daemon, unix
from fairlead.api.client import Client
from fairlead.controller.adapters import Adapters
from fairlead.controller.lock import held_lock
from fairlead.controller.runtime import Controller
from fairlead.engines.memory import Behaviour, MemoryEngine
from fairlead.errors import ControllerError, EngineUnavailableError, StoreConflictError
from fairlead.routers.memory import MemoryRouter
from fairlead.settings import Settings
from fairlead.store.sqlite import SqliteStore

from .house import DEADLINE_S, request, service


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home with a path short enough for a socket; a controller in it drives what is in memory."""

    def made(settings: Settings, store: Any, clock: Any, crash_at: str) -> Controller:
        behaviour = Behaviour(start_error=EngineUnavailableError("not now"))
        engine = MemoryEngine({"never": behaviour})
        return Controller(
            settings, store, clock, crash_at, Adapters(settings, {"process": engine}, {"process": MemoryRouter()})
        )

    monkeypatch.setattr(daemon, "Controller", made)
    with tempfile.TemporaryDirectory(prefix="fairlead-test-") as folder:
        yield Settings(home=Path(folder))


def beside(settings: Settings, act: Callable[[], None]) -> threading.Thread:
    """Do ``act`` in a thread as soon as the controller answers; whatever it raises ends the controller too."""

    def run() -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not unix.answers(settings.socket_path):
            assert time.monotonic() < deadline, "the controller does not answer"
            time.sleep(0.01)
        try:
            act()
        except BaseException:
            os.kill(os.getpid(), signal.SIGTERM)
            raise

    thread = threading.Thread(target=run, name="beside")
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(settings: Settings, number: signal.Signals) -> None:
    thread = beside(settings, lambda: os.kill(os.getpid(), number))
    assert daemon.run(settings) == 0
    thread.join(DEADLINE_S)
    assert not unix.answers(settings.socket_path)
    with held_lock(settings.home / "controller.lock"):
        assert settings.database_path.exists()


def test_a_request_to_stop_ends_it_in_order(settings: Settings) -> None:
    thread = beside(settings, Client(settings.socket_path, DEADLINE_S).stop_controller)
    assert daemon.run(settings) == 0
    thread.join(DEADLINE_S)


def test_a_second_one_in_the_same_home_is_refused(settings: Settings) -> None:
    settings.prepare()
    with held_lock(settings.home / "controller.lock"), pytest.raises(ControllerError, match="already runs"):
        daemon.run(settings)


def test_it_ends_when_another_one_has_taken_over(settings: Settings) -> None:
    """While a start is tried again and again there is always something to write down."""
    takers: list[SqliteStore] = []

    def take_over() -> None:
        Client(settings.socket_path, DEADLINE_S).up(request(service("never")))
        other, _ = SqliteStore.open(settings.database_path)
        takers.append(other)
        other.acquire("another controller")

    thread = beside(settings, take_over)
    assert daemon.run(settings) == StoreConflictError.exit_code
    thread.join(DEADLINE_S)
    for store in takers:
        store.close()
