"""One command, one external call, one deadline; whatever goes wrong comes back as an error of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.controller import execute
from fairlead.controller.core import Order
from fairlead.controller.execute import Executor
from fairlead.errors import DeadlineError, EngineError, EngineUnavailableError, FairleadError, PortTakenError
from fairlead.rollout import commands

START = commands.StartReplica(
    service="api", replica_id="shop.api.1", slot=1, generation=1, revision_id="api@1", cause="it is new"
)
STOP = commands.StopReplica(service="api", replica_id="shop.api.1", grace_s=7.0, signal="SIGQUIT", cause="it leaves")
REMOVE = commands.RemoveReplica(service="api", replica_id="shop.api.1", cause="it has ended")
ROUTES = commands.ApplyRoutes(routes=(), cause="nothing is published")
SHED = commands.ShedStreams(service="api", replica_id="shop.api.1", share=0.5, cause="half of its streams")


class World:
    """Stands for the core, the engine and the router: notes each call and does what the test says."""

    def __init__(self, outcome: Exception | None = None, *, hangs: bool = False) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._outcome = outcome
        self._hangs = hangs

    def replica_spec(self, order: Order) -> str:
        return f"the definition of {order.command.key}"

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> None:
            self.calls.append((name, *args))
            if self._hangs:
                await asyncio.Event().wait()
            if self._outcome is not None:
                raise self._outcome

        return call

    async def carry_out(self, command: commands.Command) -> FairleadError | None:
        world: Any = self
        return await Executor(world).carry_out(Order(intent=1, project="shop", command=command), world, world)


@pytest.mark.parametrize(
    ("command", "call"),
    [
        (START, ("start", "the definition of start shop.api.1")),
        (STOP, ("stop", "shop.api.1", 7.0, "SIGQUIT")),
        (REMOVE, ("remove", "shop.api.1")),
        (ROUTES, ("apply", "shop", ())),
        (SHED, ("shed", "shop", "shop.api.1", 0.5)),
    ],
)
async def test_each_command_is_one_call(command: commands.Command, call: tuple[Any, ...]) -> None:
    world = World()
    assert await world.carry_out(command) is None
    assert world.calls == [call]


@pytest.mark.parametrize("error", [EngineUnavailableError("no answer"), PortTakenError("port 80 is taken")])
async def test_an_error_of_ours_comes_back_as_it_is(error: FairleadError) -> None:
    assert await World(error).carry_out(START) is error


async def test_an_error_that_nobody_expected_says_where_it_was() -> None:
    error = await World(ZeroDivisionError("by zero")).carry_out(STOP)
    assert isinstance(error, EngineError)
    assert error.message == "stop shop.api.1: ZeroDivisionError: by zero"
    assert not error.retryable


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        (START, "START_TIMEOUT_S"),
        (REMOVE, "REMOVE_TIMEOUT_S"),
        (ROUTES, "ROUTES_TIMEOUT_S"),
        (SHED, "ROUTES_TIMEOUT_S"),
    ],
)
async def test_a_call_that_hangs_ends_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch, command: commands.Command, limit: str
) -> None:
    monkeypatch.setattr(execute, limit, 0.01)
    error = await World(hangs=True).carry_out(command)
    assert isinstance(error, DeadlineError)
    assert error.message == f"{command.key} is not done after 0.01 s"
    assert error.retryable


async def test_a_stop_has_its_grace_period_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "STOP_MARGIN_S", 0.01)
    quick = commands.StopReplica(service="api", replica_id="shop.api.1", grace_s=0.02, signal=None, cause="it leaves")
    error = await World(hangs=True).carry_out(quick)
    assert isinstance(error, DeadlineError)
    assert "after 0.03 s" in error.message


async def test_the_end_of_the_controller_is_no_error_of_a_command() -> None:
    task = asyncio.create_task(World(hangs=True).carry_out(START))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
