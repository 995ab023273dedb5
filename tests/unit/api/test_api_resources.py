"""Every resource, from the client through a real socket to the controls and back."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from scenes import NEW, OLD
from serving import Served

from fairlead.api.client import Client
from fairlead.controller.controls import OperationKind, OperationState, UpRequest
from fairlead.errors import NotFoundError, RefusedError, UsageError
from fairlead.spec.model import Mark, Port, Project, Service

REQUEST = UpRequest(
    project=Project(
        name="shop",
        working_dir="/srv/shop",
        files=("/srv/shop/compose.yaml",),
        services={"api": Service(name="api", command=("serve", "ü"), ports=(Port(target=8000, published=8080),))},
        marks={"services.api": Mark(file="compose.yaml", line=2, column=3)},
    ),
    engine="process",
    scale={"api": 2},
)


def finished(client: Client, operation_id: str) -> OperationState:
    """The state in which the operation ended; the stream of events says when to look."""
    for _ in client.events("shop", follow=True):
        state = client.operation("shop", operation_id).state
        if state is not OperationState.RUNNING:
            return state
    raise AssertionError("the stream ended before the operation")


def test_up_carries_the_whole_request(client: Client, served: Served) -> None:
    operation = client.up(REQUEST)
    assert (operation.kind, operation.release) == (OperationKind.UP, 2)
    assert served.controls.calls == [("up", REQUEST)]
    assert finished(client, operation.id) is OperationState.SUCCEEDED


def test_a_mapping_that_is_no_dict_crosses_the_wire_too(client: Client, served: Served) -> None:
    marks = MappingProxyType(dict(REQUEST.project.marks))
    client.up(replace(REQUEST, project=replace(REQUEST.project, marks=marks)))
    assert served.controls.calls == [("up", REQUEST)]


def test_plan_comes_back_as_it_was_made(client: Client, served: Served) -> None:
    answer = client.plan(REQUEST)
    assert answer["operations"][0]["after"] == NEW
    assert served.controls.calls == [("plan", REQUEST)]


def test_the_other_ways_to_a_release(client: Client, served: Served) -> None:
    assert client.deploy("shop", "api", "img:2", {"A": "1"}).kind is OperationKind.DEPLOY
    assert client.rollback("shop", 1).kind is OperationKind.ROLLBACK
    assert client.rollback("shop").kind is OperationKind.ROLLBACK
    assert client.restart("shop", ["api"]).kind is OperationKind.RESTART
    assert client.scale("shop", {"api": 5}).kind is OperationKind.SCALE
    assert client.down("shop", volumes=True).kind is OperationKind.DOWN
    assert served.controls.calls == [
        ("deploy", "shop", "api", "img:2", {"A": "1"}),
        ("rollback", "shop", 1),
        ("rollback", "shop", None),
        ("restart", "shop", ("api",)),
        ("scale", "shop", {"api": 5}),
        ("down", "shop", True),
    ]


def test_what_runs_comes_back_typed(client: Client) -> None:
    finished(client, client.up(REQUEST).id)
    assert [row.id for row in client.replicas("shop")] == ["shop.api.3", "shop.api.4"]
    assert client.replicas("other") == ()
    assert client.project("shop").services[0].published == ("http://0.0.0.0:8080 -> 8000",)
    assert [status.name for status in client.projects()] == ["shop"]
    assert [dict(release.revisions) for release in client.history("shop")] == [{"api": NEW}, {"api": OLD}]
    assert client.status().projects == ("shop",)


def test_what_is_used_comes_back_typed(client: Client) -> None:
    finished(client, client.up(REQUEST).id)
    first, second = client.stats("shop")
    assert (first.replica, second.replica, first.service) == ("shop.api.3", "shop.api.4", "api")
    assert (first.cpu_s, first.requests, dict(first.status or {})["2xx"]) == (0.25, 10, 9)
    assert [(row.replica, row.pid, row.command) for row in client.processes("shop")] == [
        ("shop.api.3", 1003, "serve --port 8000"),
        ("shop.api.4", 1004, "serve --port 8000"),
    ]
    for call in (client.stats, client.processes):
        with pytest.raises(NotFoundError):
            call("blog")


def test_pause_and_resume_answer_with_the_status(client: Client) -> None:
    client.up(REQUEST)
    assert client.pause("shop").paused is True
    assert client.resume("shop").paused is False


def test_a_command_is_run_with_its_own_deadline(client: Client, served: Served) -> None:
    result = client.run("shop", "shop.api.3", ["exit", "3"], 120.0)
    assert (result.status, result.output) == (3, "out\n")
    assert served.controls.calls == [("run", "shop", "shop.api.3", ("exit", "3"), 120.0)]


@pytest.mark.parametrize(("argv", "timeout_s"), [([], 1.0), (["x"], 0.0), (["x"], 3601.0)])
def test_a_command_that_cannot_be_run_is_refused(client: Client, argv: list[str], timeout_s: float) -> None:
    with pytest.raises(UsageError):
        client.run("shop", "shop.api.3", argv, timeout_s)


def test_errors_come_back_as_they_were_raised(client: Client) -> None:
    with pytest.raises(NotFoundError) as missing:
        client.rollback("shop", 99)
    assert (missing.value.message, missing.value.hint) == ("there is no release 99", "fairlead history lists them")
    with pytest.raises(RefusedError, match="too many"):
        client.scale("shop", {"api": 5000})


def test_a_project_name_cannot_leave_its_place_in_the_path(client: Client) -> None:
    for name in ("../controller", "a/b", "?x", "ü", ""):
        with pytest.raises(NotFoundError):
            client.project(name)


def test_events_after_last_and_all(client: Client) -> None:
    finished(client, client.up(REQUEST).id)
    everything = [event.id for event in client.events("shop")]
    assert everything == [1, 2, 3, 4]
    assert [event.id for event in client.events("shop", after=2)] == [3, 4]
    assert [event.id for event in client.events(last=1)] == [4]
    assert [event.id for event in client.events(last=0)] == []


def test_logs_and_their_tail(client: Client, served: Served) -> None:
    client.up(REQUEST)
    for text in ("one", "two", "three"):
        served.call(served.controls.write_log(text))
    assert [line.text for line in client.logs("shop")] == ["one", "two", "three"]
    assert [line.text for line in client.logs("shop", ["api"], tail=1)] == ["three"]


def test_a_notice_comes_beside_an_answer(client: Client, served: Served) -> None:
    heard: list[str] = []
    client.on_notice = heard.append
    client.projects()
    assert heard == []
    served.controls.trouble = "no space left:\n/höme"
    client.projects()
    assert heard == ["no space left: /h\\xf6me"]
