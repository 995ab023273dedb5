"""Scripted controls behind a real server, for every test of the API."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serving import DEADLINE_S, Served

from fairlead.api.client import Client


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a path short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="fairlead-test-") as folder:
        yield Path(folder)


@pytest.fixture
def served(home: Path) -> Iterator[Served]:
    """A server whose operations play a whole success at once."""
    with Served(home / "controller.sock") as server:
        yield server


@pytest.fixture
def client(served: Served) -> Client:
    return Client(served.socket_path, timeout_s=DEADLINE_S)
