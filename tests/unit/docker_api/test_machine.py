"""Whether a daemon is on this machine, whatever leads there."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from fairlead.docker_api.endpoint import Endpoint
from fairlead.docker_api.machine import is_this_machine, runs_programs_of_ours

HERE = {"KernelVersion": platform.release(), "Name": platform.node()}
LOCAL = Endpoint(url="unix:///var/run/docker.sock", source="the default socket")
OVER_SSH = Endpoint(url="ssh://deploy@db7", source="DOCKER_HOST")


@pytest.mark.parametrize(
    ("endpoint", "info", "here"),
    [
        (LOCAL, HERE, True),
        (LOCAL, {**HERE, "Name": "docker-desktop"}, True),
        (LOCAL, {**HERE, "KernelVersion": "of a VM"}, False),
        (OVER_SSH, HERE, True),
        (OVER_SSH, {**HERE, "Name": "db7"}, False),
        (OVER_SSH, {**HERE, "KernelVersion": "another"}, False),
    ],
)
def test_which_machine_it_is(endpoint: Endpoint, info: dict[str, Any], here: bool) -> None:
    assert is_this_machine(endpoint, info) is here


@pytest.mark.parametrize(
    ("system", "info", "runs"),
    [
        ("Linux", HERE, True),
        ("Linux", {"KernelVersion": "another", "Architecture": platform.machine()}, True),
        ("Linux", {"KernelVersion": "another", "Architecture": "of another kind"}, False),
        ("Darwin", {"KernelVersion": "of a VM", "Architecture": platform.machine()}, False),
    ],
)
def test_where_a_program_of_this_machine_runs(
    monkeypatch: pytest.MonkeyPatch, system: str, info: dict[str, Any], runs: bool
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    assert runs_programs_of_ours(LOCAL, info) is runs
