"""The monitor over the real event loop and clock. Tests wait for facts with a generous deadline, never for a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from fairlead.clock import SystemClock
from fairlead.engines.base import CommandResult
from fairlead.observed import Health, ReplicaHealth
from fairlead.probes.base import ProbeResult, ProbeTarget
from fairlead.probes.runner import CONCURRENCY, Checks, HealthMonitor
from fairlead.routing import Address
from fairlead.spec.model import Healthcheck, Port, Probe, ProbeKind, Probes, Service, ServiceOptions

DEADLINE_S = 30.0

FAST = Probe(kind=ProbeKind.TCP, interval_s=0.1, failure_threshold=2)
SERVICE = Service(
    name="web",
    ports=(Port(target=8000),),
    options=ServiceOptions(probes=Probes(startup=FAST, readiness=FAST, liveness=replace(FAST, failure_threshold=4))),
)
COMMAND = Service(name="job", healthcheck=Healthcheck(test=("check",), interval_s=0.1))


@dataclass
class Scripted(Checks):
    """Answers each replica's probes as ``passing`` says; those of ``stuck`` never end."""

    passing: dict[str, bool] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    raising: set[str] = field(default_factory=set)
    runs: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    most_of_one: int = 0

    async def probe(self, target: ProbeTarget, probe: Probe) -> ProbeResult:
        name = target.replica_id
        self.runs[name] += 1
        self.under_way[name] += 1
        self.most_at_once = max(self.most_at_once, sum(self.under_way.values()))
        self.most_of_one = max(self.most_of_one, self.under_way[name])
        try:
            if name in self.stuck:
                await asyncio.Event().wait()
            if name in self.raising:
                raise RuntimeError("a mistake")
            await asyncio.sleep(0)
        finally:
            self.under_way[name] -= 1
        return ProbeResult(passed=self.passing.get(name, True), reason=f"scripted {name}", duration_s=0.0)


async def run_command(argv: Sequence[str], timeout_s: float) -> CommandResult:
    raise AssertionError("the scripted checks run nothing")


def target(name: str, port: int = 1) -> ProbeTarget:
    return ProbeTarget(replica_id=name, address=Address(host="127.0.0.1", port=port), run=run_command)


class Watching:
    """A running monitor with everything it said."""

    def __init__(self, checks: Checks) -> None:
        self.said: list[tuple[str, Health]] = []
        self._changed = asyncio.Event()
        self.monitor = HealthMonitor(self._hear, clock=SystemClock(), checks=checks)

    def _hear(self, replica_id: str, verdict: ReplicaHealth) -> None:
        self.said.append((replica_id, verdict.health))
        self._changed.set()

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not fact():
                await asyncio.sleep(0.005)

    async def until_health(self, replica_id: str, health: Health) -> None:
        await self.until(lambda: self.monitor.health()[replica_id].health is health)


@asynccontextmanager
async def watching(checks: Checks) -> AsyncIterator[Watching]:
    made = Watching(checks)
    task = asyncio.create_task(made.monitor.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_replica_gets_ready_unready_dead_and_ready_again() -> None:
    checks = Scripted()
    async with watching(checks) as here:
        here.monitor.watch("a", SERVICE, target("a"))
        assert here.monitor.health() == {"a": ReplicaHealth(health=Health.UNKNOWN)}
        await here.until_health("a", Health.READY)
        checks.passing["a"] = False
        await here.until_health("a", Health.DEAD)
        assert here.monitor.health()["a"].reason == "scripted a"
        checks.passing["a"] = True
        await here.until_health("a", Health.READY)
        assert [health for _, health in here.said] == [Health.READY, Health.UNREADY, Health.DEAD, Health.READY]


async def test_only_changes_are_told() -> None:
    checks = Scripted(passing={"a": False})
    async with watching(checks) as here:
        here.monitor.watch("a", SERVICE, target("a"))
        await here.until(lambda: checks.runs["a"] >= 5)
        assert here.said == [("a", Health.STARTING)]


async def test_a_service_without_probes_settles() -> None:
    checks = Scripted()
    async with watching(checks) as here:
        here.monitor.watch("a", Service(name="worker"), target("a"))
        assert here.monitor.health()["a"].health is Health.STARTING
        await here.until_health("a", Health.READY)
    assert checks.runs == Counter()


async def test_watching_again_goes_on_and_another_address_begins_anew() -> None:
    checks = Scripted()
    async with watching(checks) as here:
        here.monitor.watch("a", SERVICE, target("a"))
        await here.until_health("a", Health.READY)
        here.monitor.watch("a", SERVICE, target("a"))
        assert here.monitor.health()["a"].health is Health.READY
        here.monitor.watch("a", SERVICE, target("a", port=2))
        assert here.monitor.health()["a"].health is Health.UNKNOWN
        await here.until_health("a", Health.READY)
        assert checks.most_of_one == 1


async def test_a_forgotten_replica_is_probed_no_more() -> None:
    checks = Scripted(stuck={"a"})
    async with watching(checks) as here:
        here.monitor.watch("a", SERVICE, target("a"))
        here.monitor.watch("b", SERVICE, target("b"))
        await here.until(lambda: checks.under_way["a"] == 1)
        here.monitor.forget("a")
        here.monitor.forget("never watched")
        await here.until(lambda: checks.under_way["a"] == 0)
        before = checks.runs["a"]
        await here.until(lambda: checks.runs["b"] >= 5)
        assert checks.runs["a"] == before
        assert list(here.monitor.health()) == ["b"]
        assert "a" not in dict(here.said)


async def test_stuck_probes_do_not_keep_others_waiting_and_are_ended() -> None:
    hasty = replace(FAST, timeout_s=0.1)
    service = replace(SERVICE, options=ServiceOptions(probes=Probes(startup=hasty, readiness=hasty, liveness=hasty)))
    checks = Scripted(stuck={f"stuck {number}" for number in range(20)})
    async with watching(checks) as here:
        for name in sorted(checks.stuck):
            here.monitor.watch(name, service, target(name))
        here.monitor.watch("a", SERVICE, target("a"))
        await here.until_health("a", Health.READY)
        await here.until_health("stuck 0", Health.STARTING)
        assert "no result within" in here.monitor.health()["stuck 0"].reason
        await here.until(lambda: all(checks.runs[name] >= 2 for name in checks.stuck))
    assert checks.most_of_one == 1


async def test_commands_that_hang_take_no_place_of_other_kinds() -> None:
    count = CONCURRENCY[ProbeKind.COMMAND] + 5
    checks = Scripted(stuck={f"stuck {number}" for number in range(count)})
    async with watching(checks) as here:
        for name in sorted(checks.stuck):
            here.monitor.watch(name, COMMAND, target(name))
        await here.until(lambda: sum(checks.under_way.values()) == count - 5)
        here.monitor.watch("a", SERVICE, target("a"))
        await here.until_health("a", Health.READY)
        assert sum(checks.under_way[name] for name in checks.stuck) == count - 5
        for name in sorted(checks.stuck):
            if checks.under_way[name]:
                here.monitor.forget(name)
        await here.until(lambda: all(checks.runs[name] for name in checks.stuck))


async def test_every_place_comes_back_when_probes_are_cancelled_before_they_begin() -> None:
    checks = Scripted()
    async with watching(checks) as here:
        for _ in range(5):
            for number in range(CONCURRENCY[ProbeKind.TCP]):
                here.monitor.watch(f"r{number}", SERVICE, target(f"r{number}"))
            await here.until(lambda: sum(checks.runs.values()) > 0)
            for number in range(CONCURRENCY[ProbeKind.TCP]):
                here.monitor.forget(f"r{number}")
        names = [f"s{number}" for number in range(200)]
        for name in names:
            here.monitor.watch(name, SERVICE, target(name))
        for name in names:
            await here.until_health(name, Health.READY)
    assert checks.most_at_once <= CONCURRENCY[ProbeKind.TCP]


async def test_a_probe_that_raises_is_a_failure_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    checks = Scripted(raising={"a"})
    async with watching(checks) as here:
        here.monitor.watch("a", SERVICE, target("a"))
        here.monitor.watch("b", SERVICE, target("b"))
        await here.until_health("a", Health.STARTING)
        await here.until_health("b", Health.READY)
        assert here.monitor.health()["a"].reason == "tcp probe: RuntimeError('a mistake')"
    assert "a probe raised" in caplog.text


async def test_a_listener_that_raises_ends_the_monitor_loudly() -> None:
    def broken(replica_id: str, verdict: ReplicaHealth) -> None:
        raise RuntimeError("the controller's mistake")

    monitor = HealthMonitor(broken, clock=SystemClock(), checks=Scripted())
    monitor.watch("a", SERVICE, target("a"))
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(DEADLINE_S):
            await monitor.run()
    assert caught.group_contains(RuntimeError, match="the controller's mistake")


async def test_a_listener_may_forget_what_it_hears_of() -> None:
    checks = Scripted()
    said: list[str] = []

    def forget(replica_id: str, verdict: ReplicaHealth) -> None:
        said.append(replica_id)
        monitor.forget(replica_id)

    monitor = HealthMonitor(forget, clock=SystemClock(), checks=checks)
    for name in ("a", "b"):
        monitor.watch(name, SERVICE, target(name))
    task = asyncio.create_task(monitor.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(said) < 2:
                await asyncio.sleep(0.005)
        assert monitor.health() == {}
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_real_kinds_are_behind_the_monitor() -> None:
    """One replica of each kind against what is really there."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def succeed(argv: Sequence[str], timeout_s: float) -> CommandResult:
        return CommandResult(status=0, output="")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    http = Service(name="h", options=ServiceOptions(probes=Probes(readiness=Probe(kind=ProbeKind.HTTP))))
    services = {"tcp": Service(name="t", ports=(Port(target=8000),)), "http": http, "command": COMMAND}
    async with server, watching(Checks()) as here:
        for name, service in services.items():
            here.monitor.watch(name, service, ProbeTarget(replica_id=name, address=address, run=succeed))
        for name in services:
            await here.until_health(name, Health.READY)
        reasons = {name: verdict.reason for name, verdict in here.monitor.health().items()}
    assert reasons == {
        "tcp": f"tcp 127.0.0.1:{address.port}: accepts connections",
        "http": f"GET http://127.0.0.1:{address.port}/: status 200",
        "command": "command check: exited with status 0",
    }


async def test_a_health_check_that_the_engine_runs_is_not_run_again() -> None:
    checks = Scripted()
    service = Service(name="web", healthcheck=Healthcheck(test=("check",), interval_s=0.1, retries=3))
    async with watching(checks) as w:
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.STARTING))
        await w.until_health("a", Health.READY)
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.READY))
        await w.until(lambda: checks.under_way["a"] == 0)
        asked = checks.runs["a"]
        w.monitor.watch("other", service, target("other"))
        await w.until(lambda: checks.runs["other"] >= 10)
        assert checks.runs["a"] <= asked + 1, "one that was about to run, and no more"
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.UNREADY))
        assert w.monitor.health()["a"] == ReplicaHealth(health=Health.DEAD, reason="healthcheck: unhealthy")
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.READY))
        assert w.monitor.health()["a"].health is Health.READY


async def test_an_engine_that_is_behind_does_not_end_a_start_that_took_long() -> None:
    """It said unhealthy before the first pass, and says so until it looks again."""
    checks = Scripted(passing={"a": False})
    service = Service(name="web", healthcheck=Healthcheck(test=("check",), interval_s=0.1, retries=1))
    async with watching(checks) as w:
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.UNREADY))
        await w.until(lambda: checks.runs["a"] >= 2)
        checks.passing["a"] = True
        await w.until_health("a", Health.READY)
        asked = checks.runs["a"]
        await w.until(lambda: checks.runs["a"] >= asked + 3)
        assert w.said == [("a", Health.STARTING), ("a", Health.READY)]
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.READY))
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.UNREADY))
        assert w.monitor.health()["a"].health is Health.DEAD


async def test_another_command_than_the_health_check_is_run_all_the_same() -> None:
    checks = Scripted(passing={"a": False})
    other = Probe(kind=ProbeKind.COMMAND, command=("other",), interval_s=0.1, failure_threshold=2)
    options = ServiceOptions(probes=Probes(startup=FAST, readiness=other, liveness=other))
    service = Service(name="web", healthcheck=Healthcheck(test=("check",), interval_s=0.1), options=options)
    async with watching(checks) as w:
        w.monitor.watch("a", service, replace(target("a"), native_health=Health.READY))
        await w.until(lambda: checks.runs["a"] >= 3)
        assert w.monitor.health()["a"].health is Health.STARTING


async def test_the_check_of_an_image_counts_where_the_file_leaves_it_to_the_image() -> None:
    checks = Scripted(passing={"a": False, "other": True})
    own = Healthcheck(test=("in-the-image",), interval_s=0.1, retries=3)
    async with watching(checks) as w:
        imaged = replace(target("a"), native_check=own)
        w.monitor.watch("a", Service(name="job"), replace(imaged, native_health=Health.STARTING))
        await w.until(lambda: checks.runs["a"] >= 2)
        reason = "scripted a (the image's HEALTHCHECK)"
        assert w.monitor.health()["a"] == ReplicaHealth(health=Health.STARTING, reason=reason)
        checks.passing["a"] = True
        await w.until_health("a", Health.READY)
        w.monitor.watch("a", Service(name="job"), replace(imaged, native_health=Health.READY))
        w.monitor.watch("a", Service(name="job"), replace(imaged, native_health=Health.UNREADY))
        reason = "healthcheck: unhealthy (the image's HEALTHCHECK)"
        assert w.monitor.health()["a"] == ReplicaHealth(health=Health.DEAD, reason=reason)


@pytest.mark.parametrize(
    "service",
    [
        Service(name="web", healthcheck=Healthcheck(disable=True)),
        Service(name="web", options=ServiceOptions(probes=Probes(readiness=FAST))),
    ],
    ids=["forbidden", "a probe of its own"],
)
async def test_the_check_of_an_image_does_not_count_beside_what_the_file_says(service: Service) -> None:
    checks = Scripted()
    own = Healthcheck(test=("in-the-image",), interval_s=0.1, retries=1)
    async with watching(checks) as w:
        w.monitor.watch("a", service, replace(target("a"), native_check=own, native_health=Health.UNREADY))
        await w.until_health("a", Health.READY)
        w.monitor.watch("a", service, replace(target("a"), native_check=own, native_health=Health.READY))
        w.monitor.watch("a", service, replace(target("a"), native_check=own, native_health=Health.UNREADY))
        assert w.monitor.health()["a"].health is Health.READY
