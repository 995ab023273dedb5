"""Fixtures of the end-to-end tests: each test has a home, a port and processes of its own."""

from collections.abc import Iterator

import pytest

from .sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A home that must be empty of processes once it was closed politely."""
    box = Sandbox()
    try:
        yield box
    finally:
        killed = box.close()
    assert killed == [], "these were left over when every project was down and the controller had stopped"


@pytest.fixture
def neighbour() -> Iterator[Sandbox]:
    """A second home on the same machine."""
    with Sandbox(prefix="fn-") as box:
        yield box


@pytest.fixture
def port(sandbox: Sandbox) -> int:
    return sandbox.port()


@pytest.fixture
def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
