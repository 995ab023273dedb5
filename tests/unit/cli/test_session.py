"""When looking for a project starts a controller: where there has been one, whatever became of its state."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from fairlead.api.client import Client
from fairlead.cli import spawn
from fairlead.cli.session import Session
from fairlead.errors import ControllerError
from fairlead.settings import Settings


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of every controller that was started, in a home that is empty so far."""
    calls: list[Settings] = []

    def start(settings: Settings) -> Client:
        calls.append(settings)
        return Client(settings.socket_path, 1.0)

    monkeypatch.setattr(spawn, "start_controller", start)
    monkeypatch.setenv("FAIRLEAD_HOME", str(tmp_path))
    return calls


def test_an_empty_home_needs_no_controller(started: list[Settings]) -> None:
    assert Session().found() is None
    assert started == []


def test_a_lost_state_is_a_reason_to_look_for_replicas(started: list[Settings]) -> None:
    Session().settings.log_path.touch()
    assert Session().found() is not None
    assert len(started) == 1


def test_a_home_that_may_not_be_looked_into_is_named(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    session = Session()
    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(ControllerError, match=f"cannot look into {tmp_path}: Permission denied"):
        session.found()
    assert started == []


@pytest.mark.parametrize("mine", [True, False])
def test_a_socket_that_cannot_be_opened_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: bool
) -> None:
    path = tmp_path / "controller.sock"
    path.touch()

    def connect(path: Path, timeout_s: float) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("fairlead.api.unix.connect", connect)
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + (0 if mine else 1))
    with pytest.raises(ControllerError, match="cannot be opened") as caught:
        Client(path).status()
    assert caught.value.hint is not None
    assert (f"chmod 600 {path}" in caught.value.hint) == mine
    assert ("another user" in caught.value.hint) != mine
