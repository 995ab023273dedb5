"""The `HEALTHCHECK` of an image: in the words of the file, and the time that it grants a start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fairlead.engines.docker.healthcheck import healthcheck_in, with_time_to_start
from fairlead.rollout.policy import start_timeout_s
from fairlead.spec.model import Healthcheck, Probe, ProbeKind, Probes, Service, ServiceOptions

SECOND = 1_000_000_000
SLOW: dict[str, Any] = {
    "Healthcheck": {"Test": ["CMD", "check", "-q"], "Interval": 5 * SECOND, "StartPeriod": 120 * SECOND, "Retries": 4}
}
API = Service(name="api", image="api")


@pytest.mark.parametrize(
    ("config", "test"),
    [
        ({"Test": ["CMD", "check", "-q"]}, ("check", "-q")),
        ({"Test": ["CMD-SHELL", "check || exit 1"]}, ("CMD-SHELL", "check || exit 1")),
    ],
)
def test_a_test_is_what_the_file_would_have_said(config: dict[str, Any], test: tuple[str, ...]) -> None:
    assert healthcheck_in({"Healthcheck": config}) == Healthcheck(test=test)


def test_the_shell_of_the_image_runs_its_script() -> None:
    config = {"Healthcheck": {"Test": ["CMD-SHELL", "a | b"]}, "Shell": ["/bin/bash", "-o", "pipefail", "-c"]}
    found = healthcheck_in(config)
    assert found is not None
    assert found.test == ("/bin/bash", "-o", "pipefail", "-c", "a | b")


@pytest.mark.parametrize("check", [None, {}, {"Test": []}, {"Test": ["NONE"]}, {"Test": ["CMD"]}, {"Interval": SECOND}])
def test_no_check(check: dict[str, Any] | None) -> None:
    assert healthcheck_in({"Healthcheck": check}) is None


def test_nanoseconds_are_seconds_and_zero_is_silence() -> None:
    assert healthcheck_in(SLOW) == Healthcheck(test=("check", "-q"), interval_s=5, start_period_s=120, retries=4)
    silent = {"Healthcheck": {"Test": ["CMD", "check"], "Interval": 0, "Timeout": 0, "Retries": 0, "StartPeriod": 0}}
    assert healthcheck_in(silent) == Healthcheck(test=("check",))


def test_a_start_may_take_as_long_as_with_the_same_check_in_the_file() -> None:
    in_the_file = replace(API, healthcheck=healthcheck_in(SLOW))
    given = with_time_to_start(API, SLOW)
    assert start_timeout_s(given) == start_timeout_s(in_the_file) == 240.0
    assert given.healthcheck is None, "the image's check stays the image's: another image has another"
    assert with_time_to_start(given, SLOW) == given
    shorter = with_time_to_start(replace(API, healthcheck=Healthcheck(retries=1)), SLOW)
    assert start_timeout_s(shorter) == 150.0


@pytest.mark.parametrize(
    "service",
    [
        replace(API, healthcheck=Healthcheck(disable=True)),
        replace(API, healthcheck=Healthcheck(test=("own",))),
        replace(API, options=ServiceOptions(probes=Probes(readiness=Probe(kind=ProbeKind.TCP)))),
        replace(API, options=ServiceOptions(probes=Probes(start_timeout_s=5.0))),
    ],
)
def test_what_the_file_says_counts(service: Service) -> None:
    assert with_time_to_start(service, SLOW) == service
    assert with_time_to_start(API, {}) == API
