from __future__ import annotations

from typing import Any

import pytest

from fairlead.engines.process.limits import Limits, limits_of, parse_size, rotation_of
from fairlead.errors import StartFailedError
from fairlead.spec.model import Deploy, Logging, Resources, Service


def service(**fields: Any) -> Service:
    return Service(name="api", **fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", 10 * 1024**2),
        ("1g", 1024**3),
        ("512", 512),
        ("1.5k", 1536),
        ("2GB", 2 * 1024**3),
        ("3 MiB", 3 * 1024**2),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text, 1024) == expected


def test_what_is_no_size() -> None:
    with pytest.raises(ValueError, match="'ten' is no size"):
        parse_size("ten", 1024)


def test_deploy_goes_before_the_short_keys() -> None:
    limits = Resources(memory_bytes=100, cpus=0.5, pids=9)
    extra = {"mem_limit": "1g", "cpus": 4, "pids_limit": 5}
    assert limits_of(service(deploy=Deploy(limits=limits), extra=extra)) == Limits(memory_bytes=100, cpus=0.5, pids=9)


def test_short_keys() -> None:
    extra = {"mem_limit": "1m", "mem_reservation": 7, "cpus": "1.5", "cpu_shares": 512, "pids_limit": 5}
    assert limits_of(service(extra=extra)) == Limits(
        memory_bytes=1024**2, memory_low_bytes=7, cpus=1.5, cpu_shares=512, pids=5
    )


def test_a_quota_is_a_number_of_cores() -> None:
    assert limits_of(service(extra={"cpu_quota": 50_000})).cpus == 0.5
    assert limits_of(service(extra={"cpu_quota": 20_000, "cpu_period": 10_000})).cpus == 2.0
    assert limits_of(service(extra={"cpu_quota": -1})).cpus is None


@pytest.mark.parametrize("extra", [{"pids_limit": -1}, {"mem_limit": 0}, {"cpus": 0}, {}])
def test_no_limit(extra: dict[str, Any]) -> None:
    assert not limits_of(service(extra=extra))


@pytest.mark.parametrize("extra", [{"mem_limit": "lots"}, {"cpus": "half"}])
def test_a_wrong_limit_names_service_and_key(extra: dict[str, Any]) -> None:
    (key,) = extra
    with pytest.raises(StartFailedError, match=f"api: {key}: '{extra[key]}' is no"):
        limits_of(service(extra=extra))


@pytest.mark.parametrize(
    ("logging", "expected"),
    [
        (None, (10_000_000, 3)),
        (Logging(driver="json-file", options={"max-size": "5m", "max-file": "2"}), (5_000_000, 2)),
        (Logging(options={"max-file": "0"}), (10_000_000, 1)),
        (Logging(driver="none"), (0, 0)),
    ],
)
def test_rotation(logging: Logging | None, expected: tuple[int, int]) -> None:
    assert rotation_of(service(logging=logging)) == expected


def test_a_wrong_rotation_is_said() -> None:
    with pytest.raises(StartFailedError, match=r"api: logging\.options: 'big' is no size"):
        rotation_of(service(logging=Logging(options={"max-size": "big"})))
