from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fairlead.probes.derive import EffectiveProbes, probes_for
from fairlead.spec.model import Healthcheck, Port, Probe, ProbeKind, Probes, Service, ServiceOptions

HTTP = Probe(kind=ProbeKind.HTTP, path="/health")


def service(**keys: Any) -> Service:
    probes = keys.pop("probes", Probes())
    return Service(name="web", options=ServiceOptions(probes=probes), **keys)


def test_a_port_is_probed_by_tcp() -> None:
    found = probes_for(service(ports=(Port(target=53, protocol="udp"), Port(target=8000), Port(target=9000))))
    assert found.startup is not None
    assert found.readiness is not None
    assert found.liveness is not None
    for probe in (found.startup, found.readiness, found.liveness):
        assert (probe.kind, probe.port) == (ProbeKind.TCP, 8000)
    assert found.startup.interval_s == 0.1
    assert found.readiness.interval_s == 2.0
    assert found.liveness.failure_threshold > found.readiness.failure_threshold
    assert found.one_run_serves_both
    assert found.startup_shows_readiness


@pytest.mark.parametrize("keys", [{}, {"ports": (Port(target=53, protocol="udp"),)}, {"expose": ("8000",)}])
def test_where_nothing_can_be_asked_there_is_no_probe(keys: dict[str, Any]) -> None:
    assert probes_for(service(**keys)) == EffectiveProbes(startup=None, readiness=None, liveness=None, settle_s=1.0)


@pytest.mark.parametrize(
    "test", [("curl", "-f", "http://localhost:8000/"), ("CMD-SHELL", "curl -f localhost || exit 1")]
)
def test_a_healthcheck_is_run_as_docker_would_but_soon_at_first(test: tuple[str, ...]) -> None:
    found = probes_for(service(healthcheck=Healthcheck(test=test), ports=(Port(target=8000),)))
    command = Probe(kind=ProbeKind.COMMAND, command=test, interval_s=30.0, timeout_s=30.0, failure_threshold=3)
    assert found.readiness == found.liveness == command
    assert found.startup == replace(command, interval_s=0.25)
    assert found.one_run_serves_both
    assert found.startup_shows_readiness


@pytest.mark.parametrize(
    ("keys", "startup_interval_s", "interval_s"),
    [
        ({"interval_s": 5.0}, 0.25, 5.0),
        ({"interval_s": 0.2}, 0.2, 0.2),
        ({"interval_s": 0.001}, 0.1, 0.1),
        ({"interval_s": 0.0}, 0.25, 30.0),
        ({"start_interval_s": 1.0}, 1.0, 30.0),
        ({"start_interval_s": 0.01}, 0.1, 30.0),
        ({"start_interval_s": 60.0, "interval_s": 10.0}, 10.0, 10.0),
    ],
)
def test_intervals_of_a_healthcheck(keys: dict[str, Any], startup_interval_s: float, interval_s: float) -> None:
    found = probes_for(service(healthcheck=Healthcheck(test=("true",), **keys)))
    assert found.startup is not None
    assert found.liveness is not None
    assert (found.startup.interval_s, found.liveness.interval_s) == (startup_interval_s, interval_s)


def test_zero_means_dockers_default() -> None:
    found = probes_for(service(healthcheck=Healthcheck(test=("true",), timeout_s=0.0, retries=0)))
    assert found.liveness is not None
    assert (found.liveness.timeout_s, found.liveness.failure_threshold) == (30.0, 3)


@pytest.mark.parametrize("check", [Healthcheck(disable=True, test=("true",)), Healthcheck(test=("NONE",))])
def test_a_disabled_healthcheck_still_waits_for_the_port_but_replaces_nothing(check: Healthcheck) -> None:
    found = probes_for(service(healthcheck=check, ports=(Port(target=8000),)))
    assert found.liveness is None
    assert found.startup is not None
    assert found.startup.kind is ProbeKind.TCP
    assert found.readiness is not None
    assert found.readiness.kind is ProbeKind.TCP
    assert probes_for(service(healthcheck=check)) == EffectiveProbes()


def test_a_healthcheck_that_says_nothing_to_run_is_none() -> None:
    found = probes_for(service(healthcheck=Healthcheck(interval_s=5.0), ports=(Port(target=8000),)))
    assert found == probes_for(service(ports=(Port(target=8000),)))


def test_probes_of_the_file_win_and_the_rest_is_derived() -> None:
    found = probes_for(service(probes=Probes(readiness=HTTP), ports=(Port(target=8000),)))
    assert found.readiness == HTTP
    assert found.startup == replace(HTTP, interval_s=0.1)
    assert found.startup_shows_readiness
    assert found.liveness is not None
    assert found.liveness.kind is ProbeKind.TCP
    assert not found.one_run_serves_both

    only_liveness = probes_for(service(probes=Probes(liveness=HTTP)))
    assert (only_liveness.readiness, only_liveness.liveness) == (None, HTTP)
    assert only_liveness.startup == replace(HTTP, interval_s=0.1)

    startup = replace(HTTP, path="/started", interval_s=0.5)
    whole = probes_for(service(probes=Probes(startup=startup, readiness=HTTP, liveness=HTTP)))
    assert whole == EffectiveProbes(startup=startup, readiness=HTTP, liveness=HTTP)
    assert whole.one_run_serves_both
    assert not whole.startup_shows_readiness


def test_one_pass_ends_the_startup_that_readiness_lends_its_question() -> None:
    strict = replace(HTTP, success_threshold=3)
    found = probes_for(service(probes=Probes(readiness=strict)))
    assert found.startup is not None
    assert found.startup.success_threshold == 1
    assert not found.startup_shows_readiness


def test_a_start_period_counts_for_liveness_behind_a_readiness_of_its_own() -> None:
    check = Healthcheck(test=("true",), start_period_s=40.0)
    found = probes_for(service(healthcheck=check, probes=Probes(readiness=HTTP)))
    assert found.liveness is not None
    assert found.liveness.initial_delay_s == 40.0
    alone = probes_for(service(healthcheck=check))
    assert alone.liveness is not None
    assert alone.liveness.initial_delay_s == 0.0


def test_no_probe_runs_more_often_than_ten_times_a_second() -> None:
    hasty = replace(HTTP, interval_s=0.001)
    found = probes_for(service(probes=Probes(startup=hasty, readiness=hasty, liveness=hasty)))
    assert [p.interval_s for p in (found.startup, found.readiness, found.liveness) if p is not None] == [0.1] * 3
