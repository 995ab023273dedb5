"""The verbs that change what runs, and how failures look: what is asked for, what is printed, the exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scenes import FAILURE, RELAPSED, SETTLED, SUCCESS, Scene

from fairlead.cli.main import _HELP
from fairlead.errors import FairleadError, Problem, RefusedError, SpecError, StartFailedError


def test_up_tells_each_change_and_ends_with_the_outcome(invoke: Any, serve: Any) -> None:
    server = serve()
    result = invoke("up", "-d")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert [line.partition("  ")[2] for line in lines[:-1]] == [scene.says for scene in SUCCESS]
    assert lines[-1].startswith("✓ shop: release 2 serves (")
    (_, request), *_ = server.controls.calls
    assert request.engine == "process"
    # The engine fills the port in: the loader must have left it alone.
    assert request.project.services["api"].command == ("serve", "--port", "$PORT")


def test_up_that_is_taken_back_exits_5_with_the_cause(invoke: Any, serve: Any) -> None:
    serve(scenes=FAILURE)
    result = invoke("up", "-d")
    assert result.exit_code == 5
    assert "error: shop: release 2 was taken back: shop.api.3 failed: exited with status 3" in result.stderr
    assert "listen" not in result.stderr
    assert "hint: `fairlead events -p shop`" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("port 80 cannot pass", hint="in two releases"), 4),
        (StartFailedError("command not found: serve", hint="in two releases"), 8),
    ],
)
def test_what_stood_in_the_way_before_a_release_began_keeps_its_exit_code(
    invoke: Any, serve: Any, error: FairleadError, code: int
) -> None:
    serve(scenes=(Scene(state="failed", outcome=f"{error.message} ({error.hint})", error=error),))
    result = invoke("up", "-d")
    assert (result.exit_code, result.stderr) == (code, f"error: {error.message}\nhint: in two releases\n")


@pytest.mark.parametrize("asked", ["tcp 127.0.0.1:20346", "GET http://127.0.0.1:20346/health"])
def test_where_nobody_listens_it_is_said_where_to(invoke: Any, serve: Any, asked: str) -> None:
    outcome = f"api: 1 of 1 new replicas failed: not ready within 30 s: {asked}: connection refused"
    serve(scenes=(Scene("shop.api.3 failed", "error", state="rolled-back", outcome=outcome),))
    result = invoke("up", "-d")
    assert "hint: nobody listens there: a local process has to listen on $PORT" in result.stderr
    assert "`fairlead events -p shop` tells how it went" in result.stderr


def test_what_a_command_could_not_reach_is_not_taken_for_the_replica(invoke: Any, serve: Any) -> None:
    said = "command pg_isready: exited with status 2: dial tcp 10.0.0.7:5432: connect: connection refused"
    outcome = f"api: 1 of 1 new replicas failed: not ready within 30 s: {said}"
    serve(scenes=(Scene("shop.api.3 failed", "error", state="rolled-back", outcome=outcome),))
    result = invoke("up", "-d")
    assert (result.exit_code, "nobody listens" in result.stderr) == (5, False)


def test_up_that_pauses_after_a_failure_exits_5(invoke: Any, serve: Any) -> None:
    serve(scenes=(Scene("shop.api.3 failed", "error", state="paused", outcome="shop.api.3 failed"),))
    result = invoke("up", "-d")
    assert result.exit_code == 5
    assert "is paused after a failure: shop.api.3 failed" in result.stderr
    assert "fairlead resume -p shop" in result.stderr


def test_up_waits_while_a_person_has_paused_it(invoke: Any, serve: Any) -> None:
    serve(interval_s="project", scenes=(Scene("held", state="paused", paused=True), *SUCCESS))
    result = invoke("up", "-d")
    assert result.exit_code == 0
    assert "paused; `fairlead resume -p shop` lets it go on" in result.stdout
    assert "release 2 serves" in result.stdout


def test_up_json_prints_the_operation_alone(invoke: Any, serve: Any) -> None:
    serve()
    result = invoke("up", "--json")
    operation = json.loads(result.stdout)
    assert (operation["state"], operation["release"]) == ("succeeded", 2)
    assert "is ready" in result.stderr


def test_up_json_prints_the_operation_of_a_failure_too(invoke: Any, serve: Any) -> None:
    serve(scenes=FAILURE)
    result = invoke("up", "--json")
    assert (result.exit_code, json.loads(result.stdout)["state"]) == (5, "rolled-back")


@pytest.mark.parametrize("verb", [["up", "-d"], ["restart"], ["deploy", "api", "--image", "img:2"]])
def test_a_release_that_is_still_watched_says_so(invoke: Any, serve: Any, verb: list[str]) -> None:
    serve(scenes=SETTLED[:-1])
    invoke("up", "-d")
    result = invoke(*verb)
    assert result.exit_code == 0
    assert "release 2 serves, watched for 30 s more (" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("verb", [["up", "-d"], ["restart"], ["deploy", "api", "--image", "img:2"]])
def test_settle_waits_until_nobody_watches(invoke: Any, serve: Any, verb: list[str]) -> None:
    serve(scenes=SETTLED, interval_s="project")
    result = invoke(*(verb if verb[0] == "up" else ["up", "-d"]), "--settle")
    assert result.exit_code == 0, result.output
    if verb[0] != "up":
        result = invoke(*verb, "--settle")
    lines = result.stdout.splitlines()
    assert "release 2 serves; watched for 30 s more" in lines
    assert lines[-2].endswith("the watch is over")
    assert "release 2 serves and has settled (" in lines[-1]


def test_settle_exits_5_with_the_cause_when_the_release_is_taken_back(invoke: Any, serve: Any) -> None:
    serve(scenes=RELAPSED, interval_s="project")
    result = invoke("up", "-d", "--settle")
    assert result.exit_code == 5
    assert "release 2 was taken back: 2 replicas failed soon after" in result.stderr
    assert result.stdout.splitlines()[-1].endswith("api@11111111 serves")
    serve_json = invoke("up", "--json", "--settle")
    assert (serve_json.exit_code, json.loads(serve_json.stdout)["state"]) == (5, "rolled-back")


def test_settle_has_nothing_to_wait_for_where_nothing_is_watched(invoke: Any, serve: Any) -> None:
    serve()
    result = invoke("up", "-d", "--settle")
    assert result.exit_code == 0
    assert "release 2 serves (" in result.stdout.splitlines()[-1]
    assert "watched" not in result.stdout


def test_settle_stops_waiting_after_its_timeout(invoke: Any, serve: Any) -> None:
    serve(scenes=SETTLED[:-1])
    result = invoke("up", "-d", "--settle", "--timeout", "1")
    assert result.exit_code == 11


def test_settle_and_no_wait_exclude_each_other(invoke: Any, serve: Any) -> None:
    serve()
    assert invoke("up", "--settle", "--no-wait").exit_code == 2


def test_up_passes_its_options_on(invoke: Any, serve: Any) -> None:
    server = serve()
    assert invoke("up", "-d", "--scale", "api=3", "--force-recreate", "--engine", "process").exit_code == 0
    (_, request), *_ = server.controls.calls
    assert (dict(request.scale), request.force_recreate) == ({"api": 3}, True)


@pytest.mark.parametrize("verb", [["up", "-d"], ["config"], ["plan"]])
def test_a_file_may_come_through_a_pipe(invoke: Any, serve: Any, verb: list[str], folder: Path) -> None:
    serve()
    out, into = os.pipe()
    os.write(into, (folder / "compose.yaml").read_bytes())
    os.close(into)
    try:
        several = invoke(*verb, "-f", f"/dev/fd/{out}", "-f", "-")
        result = invoke(*verb, "-f", f"/dev/fd/{out}")
    finally:
        os.close(out)
    assert (several.exit_code, "one Compose file can come through a pipe" in several.stderr) == (2, True)
    assert result.exit_code == 0, result.output


def test_up_stops_waiting_after_its_timeout(invoke: Any, serve: Any) -> None:
    serve(interval_s=None)
    result = invoke("up", "-d", "--timeout", "0.3")
    assert result.exit_code == 11
    assert "goes on in the background" in result.stderr


def test_no_wait_returns_at_once(invoke: Any, serve: Any) -> None:
    serve(interval_s=None)
    result = invoke("scale", "api=3", "-p", "nothing")
    assert result.exit_code == 6
    result = invoke("up", "--no-wait")
    assert (result.exit_code, "fairlead events -f -p shop" in result.stdout) == (0, True)
    assert invoke("scale", "api=3", "--no-wait").exit_code == 0


def test_up_strict_refuses_what_would_be_ignored(invoke: Any, serve: Any, folder: Path) -> None:
    server = serve()
    with (folder / "compose.yaml").open("a") as file:
        file.write("    privileged: true\n")
    result = invoke("up", "-d", "--strict")
    assert result.exit_code == 4
    assert "compose.yaml:6:" in result.stderr
    assert server.controls.calls == []
    result = invoke("up", "-d")
    assert result.exit_code == 0
    assert "notice: compose.yaml:6:5: services.api.privileged is ignored" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["up", "--scale", "api"], 2, "must have the form"),
        (["up", "--scale", "api=-1"], 2, "whole number"),
        (["up", "--engine", "podman"], 4, "there is no engine"),
        (["up", "--timeout", "0"], 2, "above 0"),
        (["up", "--timeout", "nan"], 2, "above 0"),
        (["up", "-f", "missing.yaml"], 3, "missing.yaml"),
        (["up", "-f", "."], 3, "fix: it is a folder: name the file in it, "),
        (
            ["up", "--project-directory", "/nowhere"],
            3,
            "/nowhere: there is no such folder\n    fix: check --project-dir",
        ),
        (["ps", "-f", "missing.yaml"], 3, "missing.yaml: cannot read the file: No such file or directory"),
        (["scale", "api=2", "-f", "."], 3, "cannot read the file: Is a directory\n    fix: it is a folder: name"),
        (["logs", "-f", "compose.yaml"], 2, "-f means to follow here"),
        (["logs", "-n", "ten"], 2, "'ten' is not a valid whole number"),
        (["deploy", "api", "--image", ""], 2, "--image is empty"),
        (["deploy", "api", "--env", "A"], 2, "'A' must have the form NAME=VALUE"),
        (["scale", "api", "3"], 2, "'api' must have the form SERVICE=N"),
        (["stop"], 2, "hint: `fairlead scale SERVICE=0` ends a service"),
        (["deploy", "api"], 2, "nothing to change"),
        (["rollback", "99"], 6, "there is no release 99"),
        (["rollback", "zero"], 2, "'zero' is not a valid whole number"),
        (["scale", "api=5000"], 4, "too many replicas"),
        (["scale", "api=1", "api=2"], 2, "given twice"),
        (["exec", "web", "--", "ls"], 6, "no replica or running service"),
        (["upp"], 2, "did you mean `fairlead up`"),
        (["stauts"], 2, "did you mean `fairlead stats` or `fairlead status`?"),
        (["up", "--detatch"], 2, "--detach"),
        (["up", "-d", "api"], 2, "'api' was given: a release is of the whole project\nhint: -f names a file; "),
        (["ps", "-p", "../etc"], 0, "no replicas"),
        (["restart", "-p", "blog"], 6, "projects here: shop"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(invoke: Any, serve: Any, args: list[str], code: int, says: str) -> None:
    serve()
    invoke("up", "-d")
    result = invoke(*args)
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "args",
    [
        ["up", "--scale", "web=2"],
        ["plan", "--scale", "web=2"],
        ["stats", "--no-stream", "web"],
        ["top", "web"],
        ["config", "web"],
        ["config", "--hash", "web"],
    ],
)
def test_every_verb_says_the_same_of_a_service_that_is_not_there(invoke: Any, serve: Any, args: list[str]) -> None:
    serve()
    invoke("up", "-d")
    result = invoke(*args)
    assert (result.exit_code, result.stderr) == (6, "error: shop has no service 'web'\nhint: its services: api\n")


def test_a_service_of_a_profile_that_is_not_enabled_is_not_called_unknown(
    invoke: Any, serve: Any, folder: Path
) -> None:
    with (folder / "compose.yaml").open("a") as file:
        file.write("  debug: {command: serve, profiles: [tools]}\n")
    serve()
    result = invoke("up", "-d", "--scale", "debug=2")
    assert (result.exit_code, "hint: enable it with --profile" in result.stderr) == (6, True)
    assert invoke("up", "-d", "--profile", "tools", "--scale", "debug=2").exit_code == 0


def test_the_other_operations_ask_for_what_was_said(invoke: Any, serve: Any) -> None:
    server = serve()
    invoke("up", "-d")
    for args in (
        ["deploy", "api", "--image", "img:2", "--env", "A=1", "-e", "B=x=y"],
        ["rollback"],
        ["rollback", "1"],
        ["restart", "api"],
        ["scale", "api=5"],
        ["down"],
        ["down", "--volumes", "--yes"],
    ):
        assert invoke(*args).exit_code == 0, args
    assert server.controls.calls[1:] == [
        ("deploy", "shop", "api", "img:2", {"A": "1", "B": "x=y"}),
        ("rollback", "shop", None),
        ("rollback", "shop", 1),
        ("restart", "shop", ("api",)),
        ("scale", "shop", {"api": 5}),
        ("down", "shop", False),
        ("down", "shop", True),
    ]


def test_volumes_are_not_removed_without_a_yes(invoke: Any, serve: Any) -> None:
    server = serve()
    invoke("up", "-d")
    result = invoke("down", "--volumes")
    assert (result.exit_code, "add --yes" in result.stderr) == (4, True)
    assert len(server.controls.calls) == 1


def test_a_broken_file_does_not_stop_what_needs_its_name_alone(invoke: Any, serve: Any, folder: Path) -> None:
    serve()
    invoke("up", "-d")
    (folder / "compose.yaml").write_text("name: shop\nservices: {api: [\n")
    assert invoke("ps").stdout.count("shop.api.") == 2
    assert invoke("rollback").exit_code == 0
    assert invoke("up").exit_code == 3


@pytest.mark.parametrize(
    ("text", "environment", "name"),
    [
        ("services: {}\n", {}, None),
        ("name: blog # comment\n", {}, "blog"),
        ('name: "blog"\n', {}, "blog"),
        ("name: 'blog'\n", {}, "blog"),
        ("services:\n  name: x\nname: blog-${STAGE:-test}\n", {}, "blog-test"),
        ("name: blog-${STAGE}\n", {"STAGE": "live"}, "blog-live"),
        ("name: ${MISSING:?no}\n", {}, None),
        ("name: blog\n", {"COMPOSE_PROJECT_NAME": "other"}, "other"),
    ],
)
def test_the_name_is_found_cheaply(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, environment: dict[str, str], name: str | None
) -> None:
    from fairlead.cli.selection import Selection

    (folder / "shop-1").mkdir()
    (folder / "shop-1" / "compose.yaml").write_text(text)
    monkeypatch.chdir(folder / "shop-1")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert Selection().name == (name or "shop-1")
    assert Selection(project="explicit").name == "explicit"


def test_all_problems_of_the_file_are_shown(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [Problem("bad", "compose.yaml", 3, 5, "services.api", "write good"), Problem("worse", "b.yaml", 1, 1)]

    def load(options: Any) -> Any:
        raise SpecError(problems)

    monkeypatch.setattr("fairlead.cli.desired.load", load)
    result = invoke("up")
    assert result.exit_code == 3
    assert "the Compose file has 2 problems" in result.stderr
    assert "compose.yaml:3:5: services.api: bad" in result.stderr
    assert "fix: write good" in result.stderr
    assert "b.yaml:1:1: worse" in result.stderr


def test_an_unexpected_error_is_one_line_and_a_place(
    invoke: Any, home: Path, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any) -> Any:
        raise ZeroDivisionError("details\nmore")

    serve()
    monkeypatch.setattr("fairlead.api.client.Client.replicas", broken)
    result = invoke("ps")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 2)
    assert "something unexpected happened: ZeroDivisionError: details" in result.stderr
    assert "Traceback" in (home / "last-error.log").read_text()
    monkeypatch.setenv("FAIRLEAD_DEBUG", "1")
    assert "Traceback" in invoke("ps").stderr


def test_the_table_of_help_is_true(invoke: Callable[..., Any]) -> None:
    listed = invoke("--help").stdout
    for verb, text in _HELP.items():
        assert text in listed
        result = invoke(verb, "--help")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"Usage: fairlead {verb}")


@pytest.mark.parametrize("words", [(), ("controller",)])
def test_without_a_command_there_is_help_and_no_error(invoke: Any, words: tuple[str, ...]) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Usage: {' '.join(('fairlead', *words))} [OPTIONS] COMMAND")
    assert "error:" not in result.stderr
