"""The file's meaning, seen from inside the container."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fairlead.errors import StartFailedError
from fairlead.observed import Health
from fairlead.spec.model import (
    Deploy,
    FileReference,
    Healthcheck,
    Hook,
    Mount,
    Resources,
    Service,
    Ulimit,
)
from tests.docker_world import BUSYBOX
from tests.integration.docker.conftest import World, eventually

pytestmark = pytest.mark.docker

SLEEPER = Service(name="app", image=BUSYBOX, command=("sleep", "1000"), init=True)


async def test_command_user_environment_and_folder(world: World) -> None:
    service = replace(
        SLEEPER,
        user="7:8",
        environment={"GREETING": "two words"},
        working_dir="/tmp",
        hostname="box",
        group_add=("9",),
        labels={"org.example": "yes"},
    )
    spec = await world.started(world.project(service), "app")
    seen = await world.sh(spec, 'id -u; id -g; id -G; echo "$GREETING"; echo $PWD; hostname; echo $FAIRLEAD_REPLICA')
    assert seen.splitlines() == ["7", "8", "8 9", "two words", "/tmp", "box", spec.id]
    assert (await world.inspect(spec))["Config"]["Labels"]["org.example"] == "yes"


async def test_entrypoint_and_command_are_argv(world: World) -> None:
    service = replace(SLEEPER, entrypoint=("sh", "-c"), command=('echo "[$0]" "[$1]"; exec sleep 1000', "a b", "$HOME"))
    spec = await world.started(world.project(service), "app")

    async def has_spoken() -> bool:
        return [line.text async for line in world.engine.logs(spec.id)] == ["[a b] [$HOME]"]

    await eventually(has_spoken, "both arguments arrived as they stand")


async def test_volumes_of_every_kind(world: World) -> None:
    host = world.folder / "made" / "by-docker"
    file = world.folder / "one.txt"
    file.write_text("from the host")
    service = replace(
        SLEEPER,
        volumes=(
            Mount(type="volume", source="data", target="/data"),
            Mount(type="volume", source="data", target="/again", read_only=True),
            Mount(type="volume", target="/anonymous"),
            Mount(type="bind", source=str(host), target="/host"),
            Mount(type="bind", source=str(file), target="/one.txt", read_only=True),
            Mount(type="tmpfs", target="/scratch", options={"tmpfs": {"size": "65536", "mode": 0o700}}),
        ),
        extra={"tmpfs": ["/run:size=1m"]},
    )
    project = world.project(service, volumes={"data": {"labels": {"kind": "kept"}}})
    spec = await world.started(project, "app")
    await world.sh(spec, "echo 1 > /data/x; echo 2 > /host/y; echo 3 > /anonymous/z")
    assert await world.sh(spec, "cat /again/x /one.txt; stat -c %a /scratch") == "1\nfrom the host700"
    assert "read-only" in (await world.engine.run(spec.id, ("CMD-SHELL", "echo 1 > /again/x"), 10)).output.lower()
    assert (host / "y").read_text() == "2\n"
    mounts = await world.sh(spec, "cat /proc/mounts")
    assert "/scratch tmpfs rw,nosuid,nodev,noexec,relatime,size=64k" in mounts
    assert " /run tmpfs " in mounts
    volume = await world.engine.client.get(f"/volumes/{world.name}_data")
    assert volume["Labels"]["com.docker.compose.volume"] == "data"
    assert volume["Labels"]["kind"] == "kept"


async def test_a_volume_outlives_everything_but_consent(world: World) -> None:
    service = replace(SLEEPER, volumes=(Mount(type="volume", source="data", target="/data"),))
    project = world.project(service, volumes={"data": {}})
    spec = await world.started(project, "app")
    await world.sh(spec, "echo precious > /data/x")
    await world.engine.stop(spec.id, 0.0)
    await world.engine.remove(spec.id)
    await world.engine.cleanup(world.name, volumes=False)
    spec = await world.started(project, "app", 2)
    assert await world.sh(spec, "cat /data/x") == "precious"


async def test_volume_driver_options_reach_the_mount(world: World) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=32k,uid=11"}
    service = replace(SLEEPER, volumes=(Mount(type="volume", source="ram", target="/ram"),))
    project = world.project(service, volumes={"ram": {"driver": "local", "driver_opts": options}})
    spec = await world.started(project, "app")
    assert "size=32k,uid=11" in await world.sh(spec, "grep /ram /proc/mounts")


async def test_nocopy_leaves_the_image_out_of_a_volume(world: World) -> None:
    plain = Mount(type="volume", source="copied", target="/etc")
    bare = Mount(type="volume", source="bare", target="/etc", options={"volume": {"nocopy": True}})
    project = world.project(
        replace(SLEEPER, volumes=(plain,)),
        replace(SLEEPER, name="bare", volumes=(bare,)),
        volumes={"copied": {}, "bare": {}},
    )
    assert "root" in await world.sh(await world.started(project, "app"), "cat /etc/passwd")
    assert "passwd" not in await world.sh(await world.started(project, "bare"), "ls /etc")


@pytest.mark.parametrize("read_only", [False, True])
async def test_secrets_and_configs_are_files_with_owner_and_mode(world: World, read_only: bool) -> None:
    (world.folder / "key.pem").write_text("from a file")
    # A file directly below a root that is read-only has no folder that could be made writable.
    configs = (FileReference(source="motd", target="/opt/app/motd", mode=0o600), FileReference(source="plain"))
    service = replace(
        SLEEPER,
        read_only=read_only,
        secrets=(
            FileReference(source="key"),
            FileReference(source="pw", target="db/password", uid="5", gid="6", mode=0o440),
        ),
        configs=configs[:1] if read_only else configs,
    )
    project = world.project(
        service,
        secrets={"key": {"file": "key.pem"}, "pw": {"content": "hunter2"}},
        configs={"motd": {"content": "hello\n"}, "plain": {"content": "x"}},
    )
    spec = await world.started(project, "app")
    script = "stat -c '%a %u %g' /run/secrets/key /run/secrets/db/password /opt/app/motd; cat /run/secrets/key"
    assert (await world.sh(spec, script)).splitlines() == ["444 0 0", "440 5 6", "600 0 0", "from a file"]
    if not read_only:
        assert await world.sh(spec, "cat /plain") == "x"


async def test_a_secret_that_is_missing_is_named(world: World) -> None:
    service = replace(SLEEPER, secrets=(FileReference(source="key"),))
    project = world.project(service, secrets={"key": {"file": "nowhere.pem"}})
    with pytest.raises(StartFailedError, match=r"secret 'key' cannot be read from nowhere\.pem"):
        await world.started(project, "app")
    assert await world.engine.observe(world.name) == ()


async def test_limits_reach_the_kernel(world: World) -> None:
    service = replace(
        SLEEPER,
        deploy=Deploy(limits=Resources(cpus=0.5, memory_bytes=32 << 20, pids=17)),
        # Not nofile: runc is a Go program, and those change it for themselves while they start.
        ulimits={"memlock": Ulimit(soft=128 << 10, hard=256 << 10)},
        extra={
            "shm_size": "2097152",
            "sysctls": {"net.core.somaxconn": "77"},
            "oom_score_adj": 500,
            "cap_drop": ["ALL"],
        },
    )
    spec = await world.started(world.project(service), "app")
    host = (await world.inspect(spec))["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (500_000_000, 32 << 20, 17)
    seen = await world.sh(spec, "ulimit -l; ulimit -Hl; cat /proc/sys/net/core/somaxconn /proc/1/oom_score_adj")
    assert seen.splitlines() == ["128", "256", "77", "500"]
    assert "CapEff:\t0000000000000000" in await world.sh(spec, "cat /proc/self/status")
    assert "/dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=2048k" in await world.sh(spec, "cat /proc/mounts")
    stats = await world.engine.stats([spec.id])
    assert stats[spec.id].memory_limit_bytes == 32 << 20


async def test_networks_names_aliases_and_addresses(world: World) -> None:
    drawn = int(world.name[2:], 16)
    subnet = f"10.{90 + drawn % 100}.{drawn // 100 % 250}"
    front = {"ipam": {"config": [{"subnet": f"{subnet}.0/24", "gateway": f"{subnet}.1"}]}}
    db = replace(
        SLEEPER,
        name="db",
        container_name=f"{world.name}-database",
        networks={"back": {"aliases": ["postgres"]}, "front": {"ipv4_address": f"{subnet}.77", "priority": 10}},
    )
    app = replace(SLEEPER, networks={"back": {}}, extra={"extra_hosts": ["elsewhere=192.0.2.7"], "dns_search": ["a.b"]})
    project = world.project(db, app, networks={"front": front, "back": {"internal": True}})
    await world.started(project, "db")
    spec = await world.started(project, "app")
    for name in ("db", "postgres", f"{world.name}-database"):
        assert f"Name:\t{name}" in await world.sh(spec, f"nslookup {name} 127.0.0.11")
    assert "192.0.2.7" in await world.sh(spec, "cat /etc/hosts")
    assert "search a.b" in await world.sh(spec, "cat /etc/resolv.conf")
    assert (await world.inspect(world.replica(project, "db")))["NetworkSettings"]["Networks"][f"{world.name}_front"][
        "IPAddress"
    ] == f"{subnet}.77"
    back = await world.engine.client.get(f"/networks/{world.name}_back")
    assert back["Internal"] is True
    assert back["Labels"]["com.docker.compose.network"] == "back"


async def test_external_networks_and_volumes_must_exist(world: World) -> None:
    name = f"{world.name}-theirs"
    service = replace(SLEEPER, networks={"theirs": {}})
    project = world.project(service, networks={"theirs": {"external": True, "name": name}})
    with pytest.raises(StartFailedError, match="external network"):
        await world.started(project, "app")
    made = await world.engine.client.post("/networks/create", {"Name": name})
    try:
        spec = await world.started(project, "app")
        assert list((await world.inspect(spec))["NetworkSettings"]["Networks"]) == [name]
        await world.engine.stop(spec.id, 0.0)
        await world.engine.remove(spec.id)
        await world.engine.cleanup(world.name, volumes=True)
        assert (await world.engine.client.get(f"/networks/{name}"))["Id"] == made["Id"]
    finally:
        await world.engine.client.delete(f"/networks/{name}")


async def test_services_share_namespaces(world: World) -> None:
    main = replace(SLEEPER, name="main", hostname="shared")
    side = replace(SLEEPER, name="side", network_mode="service:main", extra={"pid": "service:main"})
    project = world.project(main, side)
    await world.started(project, "main")
    spec = await world.started(project, "side")
    assert await world.sh(spec, "hostname") == "shared"
    detail = await world.inspect(spec)
    assert detail["HostConfig"]["PidMode"].startswith("container:")


async def test_hooks_run_around_the_replica(world: World) -> None:
    out = world.folder / "out"
    out.mkdir()
    service = replace(
        SLEEPER,
        volumes=(Mount(type="bind", source=str(out), target="/out"),),
        post_start=(Hook(command=("sh", "-c", "echo $WHO > /out/post"), environment={"WHO": "hook"}, user="0"),),
        pre_stop=(Hook(command=("sh", "-c", "echo bye > /out/pre")),),
    )
    spec = await world.started(world.project(service), "app")
    assert (out / "post").read_text() == "hook\n"
    await world.engine.stop(spec.id, 20.0)
    assert (out / "pre").read_text() == "bye\n"


async def test_a_failing_post_start_fails_the_start(world: World) -> None:
    service = replace(SLEEPER, post_start=(Hook(command=("sh", "-c", "echo no luck; exit 4")),))
    with pytest.raises(StartFailedError, match="post_start of app ended with status 4: no luck"):
        await world.started(world.project(service), "app")
    assert await world.engine.observe(world.name) == ()


async def test_docker_own_health_check_is_observed_and_pushed(world: World) -> None:
    check = Healthcheck(test=("CMD-SHELL", "test -e /tmp/well"), interval_s=1, timeout_s=5, retries=1)
    events = world.engine.events()
    spec = await world.started(world.project(replace(SLEEPER, healthcheck=check)), "app")

    async def is_(health: Health) -> bool:
        return (await world.one(spec)).native_health is health

    await eventually(lambda: is_(Health.UNREADY), "the check fails")
    await world.sh(spec, "touch /tmp/well")
    await eventually(lambda: is_(Health.READY), "the check passes")
    async with asyncio.timeout(30):
        async for event in events:
            if event.kind == "health" and event.detail == "healthy":
                break


async def test_the_stop_signal_of_the_file_is_sent(world: World) -> None:
    script = "trap 'echo got usr1; exit 0' USR1; trap '' TERM; while :; do sleep 0.1; done"
    service = replace(SLEEPER, command=("sh", "-c", script), init=False, stop_signal="SIGUSR1")
    spec = await world.started(world.project(service), "app")
    await world.sh(spec, "true")
    await world.engine.stop(spec.id, 20.0)
    assert [line.text async for line in world.engine.logs(spec.id)] == ["got usr1"]
    ended = (await world.one(spec)).exit
    assert ended is not None
    assert ended.code == 0


async def test_a_paused_replica_can_be_stopped(world: World) -> None:
    spec = await world.started(world.project(SLEEPER), "app")
    await world.engine.client.post(f"/containers/{(await world.one(spec)).native_id}/pause")
    await world.engine.stop(spec.id, 20.0)
    assert (await world.one(spec)).exit is not None
