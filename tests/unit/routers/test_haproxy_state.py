"""A stored state that something has damaged keeps nobody from starting."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from fairlead.errors import RouterError
from fairlead.routers.haproxy.files import files_under
from fairlead.routers.haproxy.router import HAProxyRouter
from fairlead.routers.haproxy.state import DamagedStateError, Desired, load, save
from fairlead.routing import Listen, Route


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fairlead-test-") as folder:
        yield Path(folder)


def state_of(home: Path) -> Path:
    return files_under(home).state


@pytest.mark.parametrize("content", [b"", b"\x00\xff garbage {", b'{"a": [1, 2]}', b'{"version": 1, "projects": 3}'])
async def test_a_damaged_state_is_set_aside_with_a_word(home: Path, content: bytes) -> None:
    state_of(home).write_bytes(content)
    router = HAProxyRouter(home)
    async with aclosing(router.events()) as events:  # type: ignore[type-var]
        message = (await anext(events)).message
    assert "is damaged" in message
    assert message.endswith("it is kept as state.json.damaged and written anew")
    assert not state_of(home).exists()
    assert state_of(home).with_name("state.json.damaged").read_bytes() == content


def test_a_port_that_was_chosen_and_is_not_stored_is_damage(home: Path) -> None:
    route = Route(project="shop", service="api", target=8000, listen=Listen(port=0))
    save(state_of(home), Desired({"shop": (route,)}, {}))
    with pytest.raises(DamagedStateError, match="no port for shop/api/auto8000"):
        load(state_of(home))


def test_what_a_newer_fairlead_wrote_is_no_damage(home: Path) -> None:
    state_of(home).write_bytes(msgspec.json.encode({"version": 99, "projects": {}}))
    with pytest.raises(RouterError, match="has version 99") as caught:
        load(state_of(home))
    assert not isinstance(caught.value, DamagedStateError)
