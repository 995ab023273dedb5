"""The verbs that show what runs and what happened, in this process: tables, JSON, streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scenes import NEW, Scene, row

from fairlead.api.client import ConnectionLostError, Stream
from fairlead.store.base import Event


def test_ps_and_its_json(invoke: Any, serve: Any) -> None:
    serve()
    invoke("up", "-d")
    result = invoke("ps")
    assert result.stdout.splitlines()[0].split()[:3] == ["REPLICA", "STATE", "REVISION"]
    assert result.stdout.splitlines()[1].split()[:3] == ["shop.api.3", "ready", NEW]
    rows = json.loads(invoke("ps", "--json").stdout)
    assert [(entry["id"], entry["pid"]) for entry in rows] == [("shop.api.3", 1003), ("shop.api.4", 1004)]
    assert json.loads(invoke("ps", "--json", "-p", "blog").stdout) == []
    assert invoke("ps", "-p", "blog").stderr == "no replicas of `blog`; there are replicas of: shop\n"


def test_a_stream_is_one_of_what_is_in_flight(invoke: Any, serve: Any) -> None:
    rows = (row(1, "ready", in_flight=3, streams=3),)
    serve(scenes=(Scene("x", rows=rows, state="succeeded", outcome="ok"),))
    invoke("up", "-d")
    header, line = invoke("ps").stdout.splitlines()
    assert line[header.index("IN FLIGHT") :].split()[0] == "3"


def test_stats_are_shares_of_two_samples(invoke: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairlead.cli.verbs.stats.INTERVAL_S", 0.01)
    serve()
    invoke("up", "-d")
    lines = invoke("stats").stdout.splitlines()
    assert lines[0].split()[:3] == ["REPLICA", "CPU", "%"]
    assert [line.split()[0] for line in lines[1:]] == ["shop.api.3", "shop.api.4"]
    assert " ".join(lines[1].split()[1:]) == "25.0% 50.0 MiB / 200.0 MiB 25.0% 3 0 10.0 20 18 0 2"
    (first, _) = json.loads(invoke("stats", "api", "--json").stdout)
    assert (first["cpu_percent"], first["memory_percent"], first["requests_per_s"]) == (25.0, 25.0, 10.0)
    assert (first["requests"], first["status"]["2xx"]) == (40, 36)


def test_top_lists_processes(invoke: Any, serve: Any) -> None:
    serve()
    invoke("up", "-d")
    lines = invoke("top", "api").stdout.splitlines()
    assert lines[0].split()[:4] == ["REPLICA", "PID", "PARENT", "USER"]
    words = lines[1].split()
    assert " ".join(words[:4] + words[5:]) == "shop.api.3 1003 1 app 1.5s 1.0 MiB serve --port 8000"
    rows = json.loads(invoke("top", "--json").stdout)
    assert [(entry["replica"], entry["pid"]) for entry in rows] == [("shop.api.3", 1003), ("shop.api.4", 1004)]


@pytest.mark.parametrize("verb", ["stats", "top"])
def test_what_is_not_there_has_no_usage(invoke: Any, serve: Any, verb: str) -> None:
    serve(scenes=(Scene("x", rows=(), state="succeeded", outcome="ok"),))
    invoke("up", "-d")
    result = invoke(verb)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing of `shop` runs" in result.stderr
    assert invoke(verb, "-p", "blog").exit_code == 6
    result = invoke(verb, "web")
    assert (result.exit_code, "its services: api" in result.stderr) == (6, True)


def test_what_lists_works_where_there_never_was_a_controller(
    invoke: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRLEAD_HOME", str(home / "fresh"))
    for verb in ("ps", "status"):
        result = invoke(verb, "--json")
        assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert invoke("events", "--json").stdout == ""
    assert invoke("history").exit_code == 6
    assert invoke("controller", "status").exit_code == 7
    assert invoke("controller", "stop").exit_code == 0
    assert not (home / "fresh").exists()


def test_status_and_history(invoke: Any, serve: Any) -> None:
    serve()
    invoke("up", "-d")
    text = invoke("status").stdout
    assert "shop · running · release 2 · engine process" in text
    assert "http://0.0.0.0:8080 -> 8000" in text
    assert json.loads(invoke("status", "--json").stdout)[0]["services"][0]["ready"] == 2
    assert "shop: down" not in invoke("status", "-p", "blog").stdout
    history = invoke("history").stdout.splitlines()
    assert history[1].split()[:3] == ["✓", "2", "up"]
    assert [entry["number"] for entry in json.loads(invoke("history", "--json").stdout)] == [2, 1]


def test_followed_events_go_on_where_the_first_stream_breaks_off(
    invoke: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However early that is: while those are read that were there before, too."""
    server = serve()
    invoke("up", "-d")
    opened: list[Stream[Event]] = []
    values = Stream.__iter__

    def cut(stream: Stream[Event]) -> Iterator[Event]:
        opened.append(stream)
        for event in values(stream):
            yield event
            if len(opened) == 1 and event.id == 2:
                raise ConnectionLostError("killed")
            if event.id == 4:
                server.call(server.controls.go_down())

    monkeypatch.setattr(Stream, "__iter__", cut)
    result = invoke("events", "-f", "-n", "3", "--json")
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [2, 3, 4]
    assert "the controller went away; starting it again" in result.stderr


def test_events_and_logs(invoke: Any, serve: Any) -> None:
    server = serve()
    invoke("up", "-d")
    assert len(invoke("events").stdout.splitlines()) == 4
    assert invoke("events", "-n", "1").stdout.endswith("api: api@22222222 serves\n")
    assert invoke("events", "-n", "0").stdout == ""
    assert [json.loads(line)["id"] for line in invoke("events", "--json").stdout.splitlines()] == [1, 2, 3, 4]
    server.call(server.controls.write_log("first"))
    server.call(server.controls.write_log("second"))
    assert invoke("logs").stdout == "api.3 │ first\napi.3 │ second\n"
    assert json.loads(invoke("logs", "--json", "--tail", "1", "api").stdout)["text"] == "second"


def test_plan_shows_the_steps_and_the_table(invoke: Any, serve: Any, folder: Path) -> None:
    serve()
    with (folder / "compose.yaml").open("a") as file:
        file.write("    privileged: true\n")
    text = invoke("plan").stdout
    assert "+ 1. create api (api@22222222, replicas 0 -> 2): it is new" in text
    assert "what the process engine makes of the file:" in text
    assert "ignored   compose.yaml:6:5: services.api.privileged" in text
    answer = json.loads(invoke("plan", "--json").stdout)
    assert answer["engine"] == "process"
    assert {"honoured", "ignored"} == {entry["support"] for entry in answer["keys"]}
    assert invoke("plan", "--strict").exit_code == 4


def test_a_failing_replica_shows_its_reason(invoke: Any, serve: Any) -> None:
    rows = (row(1, "failed", reason="exited\nwith\x1b[31m status 3", restarts=2, uptime_s=None),)
    serve(scenes=(Scene("x", rows=rows, state="succeeded", outcome="ok"),))
    invoke("up", "-d")
    assert "exited with [31m status 3, restarted 2 times" in invoke("ps").stdout
