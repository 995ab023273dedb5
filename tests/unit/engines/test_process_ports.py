from __future__ import annotations

import socket

import pytest

from fairlead.engines.process import ports
from fairlead.errors import StartFailedError
from fairlead.local_ports import below_ephemeral
from fairlead.spec.model import Port, Service


def test_targets_keep_the_order_of_the_file() -> None:
    service = Service(
        name="api", ports=(Port(target=9000), Port(target=80), Port(target=9000)), expose=("80", "70-72/tcp")
    )
    assert ports.targets(service) == (9000, 80, 70, 71, 72)


def test_a_wrong_expose_is_said() -> None:
    with pytest.raises(StartFailedError, match="api: expose: 'http' is no port"):
        ports.targets(Service(name="api", expose=("http",)))


def test_ports_are_free_distinct_and_below_the_ephemeral_range() -> None:
    possible = below_ephemeral(ports.LOWEST)
    found = ports.free_ports(20, ())
    assert len(set(found)) == 20
    assert possible is None or all(port in possible for port in found)


def test_what_is_taken_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        busy = listener.getsockname()[1]
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            free = other.getsockname()[1]
        monkeypatch.setattr(ports, "below_ephemeral", lambda first: range(busy, busy + 1))
        with pytest.raises(StartFailedError, match="no 1 free ports"):
            ports.free_ports(1, ())
        monkeypatch.setattr(ports, "below_ephemeral", lambda first: range(free, free + 1))
        with pytest.raises(StartFailedError, match="no 1 free ports"):
            ports.free_ports(1, {free})


def test_without_a_range_the_kernel_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "below_ephemeral", lambda first: None)
    assert len(set(ports.free_ports(3, ()))) == 3
