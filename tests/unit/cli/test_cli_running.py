"""The verbs beside releases: a release held, a command beside a replica, the controller itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from scenes import SUCCESS

from fairlead.controller.controls import ControllerStatus


def test_pause_and_resume(invoke: Any, serve: Any) -> None:
    serve(scenes=SUCCESS[:1])
    invoke("up", "-d", "--no-wait")
    assert "paused" in invoke("pause").stdout
    assert json.loads(invoke("resume", "--json").stdout)["paused"] is False


def test_nothing_is_called_paused_where_there_is_no_release_to_hold(invoke: Any, serve: Any) -> None:
    serve()
    invoke("up", "-d")
    result = invoke("pause")
    assert result.exit_code == 4
    assert "error: no release of shop is under way" in result.stderr
    assert json.loads(invoke("status", "--json").stdout)[0]["paused"] is False


def test_exec_ends_as_the_command_does(invoke: Any, serve: Any) -> None:
    server = serve()
    invoke("up", "-d")
    result = invoke("exec", "api", "--", "exit", "3")
    assert (result.exit_code, result.stdout) == (3, "out\n")
    assert invoke("exec", "shop.api.4", "exit", "-9").exit_code == 137
    assert invoke("exec", "api.4", "env", "-x").exit_code == 0
    assert [call[2:4] for call in server.controls.calls[1:]] == [
        ("shop.api.3", ("exit", "3")),
        ("shop.api.4", ("exit", "-9")),
        ("shop.api.4", ("env", "-x")),
    ]
    assert json.loads(invoke("exec", "--json", "api", "env").stdout)["status"] == 0


def test_controller_status_and_stop(invoke: Any, serve: Any) -> None:
    serve()
    assert isinstance(json.loads(invoke("controller", "status", "--json").stdout)["pid"], int)
    assert "48.0 MiB" in invoke("controller", "status").stdout
    assert "replicas and router go on" in invoke("controller", "stop").stdout
    assert invoke("controller", "status").exit_code == 7


def test_nothing_is_said_to_go_on_where_nothing_ran(invoke: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    controls = serve().controls
    found = controls.status

    async def status() -> ControllerStatus:
        return replace(await found(), projects=())

    monkeypatch.setattr(controls, "status", status)
    assert "no project was running" in invoke("controller", "stop").stdout
