"""A daemon on another machine is refused before anything changes; one on this machine never, whatever leads there."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from fairlead.docker_api.client import Client
from fairlead.docker_api.endpoint import Endpoint
from fairlead.docker_api.machine import is_this_machine, refuse_another
from fairlead.errors import RefusedError

HERE = {"KernelVersion": platform.release(), "Name": platform.node()}
LOCAL = Endpoint(url="unix:///var/run/docker.sock", source="the default socket")
OVER_SSH = Endpoint(url="ssh://deploy@db7", source="DOCKER_HOST")


class Told(Client):
    """A daemon that says ``info`` of itself."""

    def __init__(self, endpoint: Endpoint, info: dict[str, Any]) -> None:
        super().__init__(endpoint)
        self.info = info

    async def get(self, path: str, /, *, timeout_s: float = 0.0, **params: Any) -> Any:
        assert path == "/info"
        return self.info


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


async def test_another_machine_is_refused_with_the_way_there() -> None:
    with pytest.raises(RefusedError, match="runs on db7, not on this machine") as refused:
        await refuse_another(Told(OVER_SSH, {**HERE, "Name": "db7"}))
    assert "ssh HOST fairlead up" in (refused.value.hint or "")
    await refuse_another(Told(OVER_SSH, HERE))
