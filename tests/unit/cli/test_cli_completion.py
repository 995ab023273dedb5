"""What a shell is offered while somebody types."""

from __future__ import annotations

from typing import Any

import pytest
from click.shell_completion import ShellComplete
from scenes import Scene, row

from fairlead.cli.main import command


def completed(*words: str) -> list[str]:
    complete = ShellComplete(command, {}, "fairlead", "_FAIRLEAD_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(invoke: Any, shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_FAIRLEAD_COMPLETE" in result.stdout


def test_the_help_of_completion_has_a_line_a_shell(invoke: Any) -> None:
    lines = [line.strip() for line in invoke("completion", "--help").stdout.splitlines()]
    assert [line.split()[0] for line in lines if "fairlead completion" in line and line.split()[0].endswith(":")] == [
        "Usage:",
        "bash:",
        "zsh:",
        "fish:",
    ]


def test_completion_of_verbs_and_services(invoke: Any, serve: Any) -> None:
    assert set(completed("re")) == {"restart", "resume"}
    assert completed("restart", "a") == []
    serve()
    invoke("up", "-d")
    assert completed("restart", "a") == ["api"]
    assert completed("restart", "x") == []


def test_replicas_that_run_are_offered_beside_the_services(invoke: Any, serve: Any) -> None:
    assert completed("exec", "a") == []
    rows = (row(10, "starting"), row(2, "ready"), row(3, "draining"), row(1, "failed"), row(4, "stopped"))
    serve(scenes=(Scene("x", rows=rows, state="succeeded", outcome="ok"),))
    invoke("up", "-d")
    assert completed("exec", "") == ["api", "api.2", "api.3", "api.10"]
    assert completed("exec", "api.1") == ["api.10"]
    assert completed("exec", "-p", "shop", "api.2") == ["api.2"]
    assert completed("exec", "-p", "other", "api.2") == []
    assert invoke("exec", "api.2", "--", "true").exit_code == 0


def test_releases_are_offered_but_the_one_that_serves(invoke: Any, serve: Any) -> None:
    assert completed("rollback", "") == []
    serve()
    invoke("up", "-d")
    assert completed("rollback", "") == ["1"]
    assert completed("rollback", "2") == []
    assert invoke("rollback", "1").exit_code == 0


@pytest.mark.parametrize("verb", ["up", "plan", "doctor"])
def test_engines_are_offered_without_a_controller(invoke: Any, verb: str) -> None:
    assert completed(verb, "--engine", "") == ["process", "docker"]
    assert completed(verb, "--engine", "d") == ["docker"]


@pytest.mark.parametrize("line", [("restart", "a"), ("exec", "a"), ("rollback", "")], ids=" ".join)
def test_a_notice_does_not_get_into_the_line_that_is_typed(
    invoke: Any, serve: Any, capfd: pytest.CaptureFixture[str], line: tuple[str, ...]
) -> None:
    server = serve()
    invoke("up", "-d")
    server.controls.trouble = "the disk is full"
    assert "the disk is full" in invoke("ps").stderr
    capfd.readouterr()
    assert completed(*line)
    assert capfd.readouterr() == ("", "")
