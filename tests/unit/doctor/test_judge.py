"""Each judgement, with the fix it comes with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairlead.doctor.facts import DaemonFacts, HostFacts, PortHolder
from fairlead.doctor.finding import Finding, Level
from fairlead.doctor.judge import judge_daemon, judge_host

HOST = HostFacts(memory_available_bytes=8 << 30, home_free_bytes=50 << 30, haproxy="/usr/sbin/haproxy", dns_error="")
DAEMON = DaemonFacts(
    source="the default socket",
    url="unix:///var/run/docker.sock",
    version="27.0",
    api=(1, 46),
    cgroup="2",
    storage="overlay2",
    backing="extfs",
    system="Debian",
    cpus=4,
    memory_bytes=8 << 30,
    root_free_bytes=50 << 30,
    same_machine=True,
    live_restore=True,
)


def worst(findings: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.level is not Level.OK]


def test_a_sound_machine_has_nothing_to_fix() -> None:
    assert worst(judge_host(HOST)) == []
    assert worst(judge_daemon(DAEMON)) == []


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"haproxy": None}, "haproxy", Level.WARNING),
        ({"home_free_bytes": 1 << 20}, "disk", Level.WARNING),
        ({"memory_available_bytes": 1 << 20}, "memory", Level.WARNING),
        ({"dns_error": "timed out"}, "dns", Level.NOTICE),
        ({"held_ports": (PortHolder(port=80, pid=7, name="nginx"),)}, "ports", Level.ERROR),
        ({"held_ports": (PortHolder(port=80, pid=None, name=""),)}, "ports", Level.ERROR),
        ({"held_ports": (PortHolder(port=80, pid=7, name="haproxy"),)}, "ports", Level.NOTICE),
    ],
)
def test_what_is_wrong_with_a_machine(change: dict[str, object], check: str, level: Level) -> None:
    (finding,) = worst(judge_host(replace(HOST, **change)))  # type: ignore[arg-type]
    assert (finding.check, finding.level) == (check, level)
    assert finding.fix


def test_nobody_is_told_to_kill_what_may_be_the_own_load_balancer() -> None:
    (finding,) = worst(judge_host(replace(HOST, held_ports=(PortHolder(port=80, pid=7, name="haproxy"),))))
    assert "kill" not in finding.fix
    assert "`fairlead status --all`" in finding.fix


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"api": (1, 38)}, "api", Level.ERROR),
        ({"rootless": True}, "network", Level.ERROR),
        ({"root_free_bytes": 1 << 20}, "disk", Level.WARNING),
        ({"storage": "vfs"}, "storage", Level.WARNING),
        ({"cgroup": "1"}, "cgroups", Level.NOTICE),
        ({"clock_ahead_s": -90.0}, "clock", Level.WARNING),
        ({"live_restore": False}, "live-restore", Level.NOTICE),
        ({"url": "unix:///Users/me/.colima/docker.sock", "memory_bytes": 2 << 30}, "vm", Level.WARNING),
    ],
)
def test_what_is_wrong_with_a_daemon(change: dict[str, object], check: str, level: Level) -> None:
    (finding,) = worst(judge_daemon(replace(DAEMON, **change)))  # type: ignore[arg-type]
    assert (finding.check, finding.level) == (check, level)
    assert finding.fix


def test_the_way_to_the_containers_is_told() -> None:
    far = replace(DAEMON, same_machine=False, machine="db7", root_free_bytes=None)
    for facts, told in ((DAEMON, "directly"), (far, "run on db7: a relay there")):
        (finding,) = (found for found in judge_daemon(facts) if found.check == "network")
        assert finding.level is Level.OK
        assert told in finding.message


def test_a_daemon_that_does_not_answer_is_one_finding() -> None:
    facts = DaemonFacts(source="DOCKER_HOST", url="tcp://box:2375", error="refused", hint="start it")
    (finding,) = judge_daemon(facts)
    assert (finding.level, finding.fix) == (Level.ERROR, "start it")
    assert "DOCKER_HOST" in finding.message
    assert "refused" in finding.message
