"""Signals by the names that Docker knows."""

from __future__ import annotations

import signal

import pytest

from fairlead.engines.process.signal_names import signal_number
from fairlead.errors import EngineError


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("INT", signal.SIGINT),
        ("sigquit", signal.SIGQUIT),
        ("15", 15),
        ("37", 37),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_a_signal_has_many_names(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize(
    "name", ["", "SIG", "SIGFOO", "0", "65", "-9", "9999", "٣", "SIGRTMIN+31", "SIGRTMAX-99", "SIGRTMIN-1"]
)
def test_what_is_no_signal(name: str) -> None:
    with pytest.raises(EngineError, match="is no signal"):
        signal_number(name)
