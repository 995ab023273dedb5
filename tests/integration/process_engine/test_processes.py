"""How a replica runs: its session, environment, ports, user and limits, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from fairlead.engines.base import EngineEventKind
from fairlead.engines.process import ProcessEngine
from fairlead.errors import StartFailedError
from fairlead.observed import ExitCause, ReplicaState
from fairlead.spec.model import Build, Deploy, Hook, Port, Resources, Ulimit
from tests.contract.engines.harness import DEADLINE_S, eventually, processes_of
from tests.integration.process_engine.world import World, ended, guard_of, is_gone, lines, one, pid_of, says

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")

DAEMON = "(setsid sh -c 'echo away; exec sleep 1000' &) ; sleep 1000 & echo here; "


async def both_said(engine: ProcessEngine, world: World, script: str) -> list[int]:
    spec = world.sh(script)
    await engine.start(spec)
    await says(engine, spec, "here")
    await says(engine, spec, "away")
    await guard_of(world, spec)
    pids = processes_of(world.home)
    assert len(pids) >= 4
    return pids


async def test_nothing_of_a_stopped_replica_survives(world: World, engine: ProcessEngine) -> None:
    pids = await both_said(engine, world, f"{DAEMON} wait")
    await engine.stop("world.api.1", DEADLINE_S)
    assert [pid for pid in pids if not is_gone(pid)] == []


async def test_nothing_of_an_ended_replica_survives(world: World, engine: ProcessEngine) -> None:
    go = world.directory / "go"
    pids = await both_said(engine, world, f"{DAEMON} while [ ! -e {go} ]; do sleep 0.02; done; exit 4")
    go.touch()
    assert (await ended(engine, world.spec())).code == 4
    await eventually(lambda: all(is_gone(pid) for pid in pids), "all of it is gone")


async def test_without_cgroups_nothing_survives_either(
    world: World, engine: ProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.engines.process.cgroups.Cgroups.create", lambda *_: ())
    pids = await both_said(engine, world, f"{DAEMON} wait")
    await engine.stop("world.api.1", DEADLINE_S)
    assert [pid for pid in pids if not is_gone(pid)] == []


async def test_a_suspended_replica_stops_politely(world: World, engine: ProcessEngine) -> None:
    spec = world.sh("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.02; done")
    await engine.start(spec)
    await says(engine, spec, "up")
    os.kill(await pid_of(engine, spec), signal.SIGSTOP)
    await engine.stop(spec.id, DEADLINE_S)
    found = await ended(engine, spec)
    assert (found.cause, found.code) == (ExitCause.EXITED, 5)
    await says(engine, spec, "bye")


async def test_the_stop_signal_of_the_file_is_sent(world: World, engine: ProcessEngine) -> None:
    spec = world.sh("trap 'exit 6' INT; echo up; while :; do sleep 0.02; done", stop_signal="SIGINT")
    await engine.start(spec)
    await says(engine, spec, "up")
    await engine.stop(spec.id, DEADLINE_S)
    assert (await ended(engine, spec)).code == 6


async def test_signals_go_to_the_replica(world: World, engine: ProcessEngine) -> None:
    spec = world.sh("trap 'echo reloaded' HUP; echo up; while :; do sleep 0.02; done")
    await engine.start(spec)
    await says(engine, spec, "up")
    await engine.signal(spec.id, "SIGHUP")
    await says(engine, spec, "reloaded")
    assert (await one(engine, spec)).state is ReplicaState.RUNNING


async def test_the_environment_is_the_file_s_over_a_small_base(world: World) -> None:
    engine = ProcessEngine(world.home, {"PATH": os.environ["PATH"], "HOME": "/nowhere", "SECRET": "of the controller"})
    spec = world.spec(
        1, "env", environment={"A": "1", "HOME": "/mine", "URL": "http://:${PORT}/$PORT_9000/${PORT_1:-x}"},
        ports=(Port(target=8000), Port(target=9000)),
    )  # fmt: skip
    await engine.start(spec)
    await ended(engine, spec)
    found = dict(line.split("=", 1) for line in await lines(engine, spec))
    addresses = (await one(engine, spec)).addresses
    first, second = addresses[8000].port, addresses[9000].port
    assert "SECRET" not in found
    assert found["A"] == "1"
    assert found["HOME"] == "/mine"
    assert found["PORT"] == found["PORT_8000"] == str(first)
    assert found["PORT_9000"] == str(second)
    assert found["URL"] == f"http://:{first}/{second}/x"
    assert found["FAIRLEAD_REPLICA"] == spec.id
    assert found["FAIRLEAD_SLOT"] == "1"
    assert found["FAIRLEAD_REVISION"] == spec.revision.id
    await engine.close()


async def test_a_replica_listens_on_its_port(world: World, engine: ProcessEngine) -> None:
    server = ("-m", "http.server", "--bind", "127.0.0.1", "${PORT}")
    spec = world.spec(1, *server, entrypoint=(sys.executable,))
    await engine.start(spec)
    address = (await one(engine, spec)).addresses[8000]

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address.host}:{address.port}/", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    await eventually(lambda: asyncio.to_thread(answers), "the server answers on the port it was given")


async def test_a_service_without_ports_has_no_address_but_a_port(world: World, engine: ProcessEngine) -> None:
    spec = world.sh("echo port $PORT; exec sleep 1000", ports=())
    await engine.start(spec)
    assert (await one(engine, spec)).addresses == {}

    async def has_spoken() -> bool:
        return bool(await lines(engine, spec))

    await eventually(has_spoken, "it has said its port")
    assert int((await lines(engine, spec))[0].split()[1]) > 0


async def test_fifty_replicas_start_and_stop_together(world: World, engine: ProcessEngine) -> None:
    specs = [world.spec(number) for number in range(1, 51)]
    await asyncio.gather(*(engine.start(spec) for spec in specs))
    seen = await engine.observe("world")
    assert len(seen) == 50
    assert {replica.state for replica in seen} == {ReplicaState.RUNNING}
    assert len({replica.addresses[8000].port for replica in seen}) == 50
    assert len(await engine.stats([spec.id for spec in specs])) == 50
    await asyncio.gather(*(engine.stop(spec.id, DEADLINE_S) for spec in specs))
    assert {replica.state for replica in await engine.observe("world")} == {ReplicaState.EXITED}
    assert processes_of(world.home) == []


async def test_a_guard_costs_less_than_a_megabyte(world: World, engine: ProcessEngine) -> None:
    spec = world.spec()
    await engine.start(spec)
    guard = await guard_of(world, spec)
    rollup = Path(f"/proc/{guard}/smaps_rollup")
    (pss_kb,) = [int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Pss:")]
    assert pss_kb < 1024


async def test_a_replica_starts_with_no_signal_ignored(world: World, engine: ProcessEngine) -> None:
    spec = world.spec(1, "grep", "-E", "SigIgn|SigBlk", "/proc/self/status")
    await engine.start(spec)
    await ended(engine, spec)
    # Signals 32 and 33 are the C library's own; no program sets or sees them.
    of_the_library = 1 << 31 | 1 << 32
    assert {int(line.split()[1], 16) & ~of_the_library for line in await lines(engine, spec)} == {0}


async def test_ulimits_and_no_new_privileges(world: World, engine: ProcessEngine) -> None:
    spec = world.sh(
        "ulimit -n; grep NoNewPrivs /proc/self/status",
        ulimits={"nofile": Ulimit(soft=123, hard=456)},
        extra={"security_opt": ["no-new-privileges:true"]},
    )
    await engine.start(spec)
    await ended(engine, spec)
    limit, privileges = await lines(engine, spec)
    assert limit == "123"
    assert privileges.split() == ["NoNewPrivs:", "1"]


@as_root
async def test_another_user_runs_it(world: World, engine: ProcessEngine) -> None:
    world.directory.chmod(0o755)
    spec = world.sh("id -un; id -G; echo $HOME", user="nobody", extra={}, working_dir="/")
    await engine.start(spec)
    await ended(engine, spec)
    name, groups, home = await lines(engine, spec)
    assert name == "nobody"
    assert "0" not in groups.split()
    assert home == "/nonexistent"


async def test_a_memory_limit_kills_and_says_so(world: World, engine: ProcessEngine) -> None:
    if not engine.capabilities.limits_memory:
        pytest.skip("no memory cgroup here: the capabilities say so")
    limits = Resources(memory_bytes=64 << 20)
    greedy = "import sys; data = bytearray(512 << 20); sys.exit(0)"
    spec = world.spec(1, sys.executable, "-c", greedy, deploy=Deploy(limits=limits))
    events = engine.events()
    await engine.start(spec)
    found = await ended(engine, spec)
    assert (found.cause, found.code) == (ExitCause.OOM, -9)
    async with asyncio.timeout(DEADLINE_S):
        async for event in events:
            if event.kind is EngineEventKind.EXITED:
                assert event.exit == found
                break


async def test_other_limits_are_the_kernels(world: World, engine: ProcessEngine) -> None:
    if not (engine.capabilities.limits_cpu and "pids_limit" in engine.capabilities.keys):
        pytest.skip("no cpu cgroup here: the capabilities say so")
    limits = Resources(cpus=0.5, pids=7, memory_bytes=256 << 20)
    spec = world.sh("cat /proc/self/cgroup; exec sleep 1000", deploy=Deploy(limits=limits))
    await engine.start(spec)
    stats = await engine.stats([spec.id])
    assert stats[spec.id].memory_limit_bytes == 256 << 20
    directories = engine._replicas.at(world.run_directory(spec)).directory.launch.cgroups
    names = ("pids.max", "cpu.max", "cpu.cfs_quota_us")
    paths = [Path(directory, name) for directory in directories for name in names]
    values = {path.name: path.read_text().strip() for path in paths if path.exists()}
    assert values["pids.max"] == "7"
    assert values.get("cpu.max", "50000 100000") == "50000 100000"
    assert values.get("cpu.cfs_quota_us", "50000") == "50000"
    await engine.stop(spec.id, 0.0)
    await engine.remove(spec.id)
    assert [directory for directory in directories if Path(directory).exists()] == []


async def test_hooks_run_after_the_start_and_before_the_stop(world: World, engine: ProcessEngine) -> None:
    told = world.directory / "told"
    spec = world.sh(
        f"trap 'echo term >> {told}; exit 0' TERM; echo up; while :; do sleep 0.02; done",
        post_start=(Hook(command=("sh", "-c", f"echo post $EXTRA >> {told}"), environment={"EXTRA": "$PORT"}),),
        pre_stop=(Hook(command=("sh", "-c", f"echo pre >> {told}")),),
    )
    await engine.start(spec)
    await says(engine, spec, "up")
    await engine.stop(spec.id, DEADLINE_S)
    port = (await one(engine, spec)).addresses[8000].port
    assert told.read_text().splitlines() == [f"post {port}", "pre", "term"]


async def test_a_failing_post_start_hook_fails_the_start(world: World, engine: ProcessEngine) -> None:
    hook = Hook(command=("sh", "-c", "echo no database; exit 3"))
    with pytest.raises(StartFailedError, match=r"post_start hook .* ended with status 3") as caught:
        await engine.start(world.spec(1, post_start=(hook,)))
    assert caught.value.hint == "no database"
    assert processes_of(world.home) == []


async def test_a_command_that_takes_too_long_is_killed_whole(world: World, engine: ProcessEngine) -> None:
    spec = world.spec()
    await engine.start(spec)
    before = {await pid_of(engine, spec), await guard_of(world, spec)}
    for timeout_s in (0.3, 3.0, DEADLINE_S):
        result = await engine.run(spec.id, ("CMD-SHELL", "echo begun; sleep 1000 & sleep 1000"), timeout_s)
        assert (result.status, result.timed_out) == (-9, True)
        if result.output:
            break  # A busy machine may take longer than that to begin it.
    assert result.output == "begun\n"
    await eventually(lambda: set(processes_of(world.home)) == before, "only the replica is left")


async def test_a_command_sees_what_the_replica_sees(world: World, engine: ProcessEngine) -> None:
    (world.directory / "app").mkdir()
    spec = world.spec(1, build=Build(context=str(world.directory)), working_dir="app", environment={"A": "1"})
    await engine.start(spec)
    result = await engine.run(spec.id, ("sh", "-c", "pwd; echo $A $FAIRLEAD_REPLICA"), DEADLINE_S)
    assert result.output.splitlines() == [str(world.directory / "app"), f"1 {spec.id}"]
    missing = await engine.run(spec.id, ("no-such-command",), DEADLINE_S)
    assert missing.status == 127
    assert "command not found: no-such-command" in missing.output
    long = await engine.run(spec.id, ("sh", "-c", "head -c 1000000 /dev/zero; exit 9"), DEADLINE_S)
    assert long.status == 9
    assert 0 < len(long.output) <= 64 * 1024


async def test_usage_counts_the_whole_tree(world: World, engine: ProcessEngine) -> None:
    burn = "import os; os.fork(); x = bytearray(20 << 20); print('up', flush=True)\nwhile True: pass"
    spec = world.spec(1, sys.executable, "-c", burn)
    await engine.start(spec)

    async def both_work() -> bool:
        found = (await engine.stats([spec.id]))[spec.id]
        return found.pids == 2 and found.memory_bytes > 40 << 20 and found.cpu_s > 0.05

    await eventually(both_work, "both processes are counted")
