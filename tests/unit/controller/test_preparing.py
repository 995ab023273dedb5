"""What a controller prepares before a release: who waits for it, and what it leaves alone where it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fairlead.controller.controls import Operation, OperationState
from fairlead.engines.base import Report
from fairlead.engines.memory import Behaviour
from fairlead.errors import EngineUnavailableError, StartFailedError
from fairlead.observed import CommandResult
from fairlead.spec.model import Project

from .house import Gate, House, ended, eventually, request, service, succeeded, versions


async def test_what_is_prepared_is_what_is_released_and_its_progress_is_told(house: House) -> None:
    async def pin(project: Project, report: Report) -> Project:
        report("pulling api")
        pinned = replace(project.services["api"], image="api@sha256:1")
        return replace(project, services={"api": pinned})

    house.engine.preparing = pin
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        (spec,) = await house.engine.recall("shop")
        assert spec.revision.service.image == "api@sha256:1"
        told = [event.message async for event in controller.events("shop")]
        assert told[0] == "pulling api"


@pytest.mark.parametrize(
    ("error", "says", "cause"),
    [
        (StartFailedError("no such image", hint="build it"), "no such image (build it)", "StartFailedError"),
        (EngineUnavailableError("the daemon is away"), "the daemon is away", "EngineUnavailableError"),
        (KeyError("oops"), "KeyError: 'oops'", "FairleadError"),
    ],
)
async def test_a_preparation_that_fails_leaves_what_serves_alone(
    house: House, error: Exception, says: str, cause: str
) -> None:
    async def fail(project: Project, report: Report) -> Project:
        raise error

    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(version="v1"))))
        before = await versions(controller)
        house.engine.preparing = fail
        done = await ended(controller, await controller.up(request(service(version="v2"))))
        assert (done.state, done.message, done.release) == (OperationState.FAILED, says, None)
        assert done.error is not None
        assert done.error["error"] == cause
        assert await versions(controller) == before
        assert [row.number for row in await controller.history("shop")] == [1]
        assert house.store.documents("request") == {}
        house.engine.preparing = None
        await succeeded(controller, await controller.up(request(service(version="v2"))))


async def test_a_first_preparation_that_fails_leaves_no_project(house: House) -> None:
    async def fail(project: Project, report: Report) -> Project:
        raise StartFailedError("no such image")

    house.engine.preparing = fail
    async with house.running() as controller:
        done = await ended(controller, await controller.up(request(service())))
        assert done.state is OperationState.FAILED
        assert await controller.projects() == ()


async def test_an_older_request_never_overtakes_a_newer_one(house: House) -> None:
    gate = house.engine.preparing = Gate()
    async with house.running() as controller:
        older = await controller.up(request(service(version="v1")))
        await eventually(lambda: gate.asked == ["v1"], "the first is being prepared")
        newer = await controller.up(request(service(version="v2")))
        gate.open.set()
        await succeeded(controller, newer)
        assert (await ended(controller, older)).state is OperationState.FAILED
        (spec,) = await house.engine.recall("shop")
        assert spec.revision.service.environment["VERSION"] == "v2"
        assert gate.asked == ["v1", "v2"]


async def test_down_ends_what_is_still_being_prepared(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(version="v1"))))
        gate = house.engine.preparing = Gate()
        pending = await controller.up(request(service(version="v2")))
        await eventually(lambda: gate.asked == ["v2"], "it is being prepared")
        down = await controller.down("shop", volumes=False)
        over = await ended(controller, pending)
        assert (over.state, over.message) == (OperationState.FAILED, f"superseded by down {down.id}")
        gate.open.set()
        await succeeded(controller, down)
        # The next one waits its turn behind the one that was given up: that has done nothing.
        house.engine.preparing = None
        again = await succeeded(controller, await controller.up(request(service(version="v3"))))
        assert again.release == 1


@pytest.mark.parametrize("ask", ["deploy", "rollback", "restart"])
async def test_what_could_never_start_is_found_before_what_serves_is_touched(house: House, ask: str) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(version="v1"), service("web", port=None))))
        await succeeded(controller, await controller.up(request(service(version="v2"), service("web", port=None))))
        operations: dict[str, Callable[[], Awaitable[Operation]]] = {
            "deploy": lambda: controller.deploy("shop", "api", None, {"VERSION": "v3"}),
            "rollback": lambda: controller.rollback("shop", None),
            "restart": lambda: controller.restart("shop", ["api"]),
        }
        house.engine.cannot_start = {"api"}
        with pytest.raises(StartFailedError, match="api: its folder is gone"):
            await operations[ask]()
        assert [row.number for row in await controller.history("shop")] == [2, 1]
        assert (await controller.project("shop")).state == "running"
        house.engine.cannot_start = {"web"}
        await succeeded(controller, await operations[ask]())


async def test_taking_back_the_release_under_way_needs_nothing_that_could_not_start(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(version="v1"))))
        house.engine.behaviours["api"] = Behaviour(commands={("ready", "v2"): CommandResult(status=1, output="")})
        await controller.up(request(service(version="v2")))

        async def releasing() -> bool:
            return (await controller.project("shop")).state == "releasing"

        await eventually(releasing, "release 2 is under way")
        house.engine.cannot_start = {"api"}
        await succeeded(controller, await controller.rollback("shop", None))
