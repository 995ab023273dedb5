from __future__ import annotations

import pytest

from fairlead.engines.process.variables import DEFERRED, port_variables, substitute

VALUES = port_variables(4001, {8000: 4001, 9000: 4002})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$PORT", "4001"),
        ("${PORT}", "4001"),
        ("0.0.0.0:$PORT", "0.0.0.0:4001"),
        ("$PORT_9000", "4002"),
        ("${PORT_8000}/x", "4001/x"),
        ("${PORT:-80}", "4001"),
        ("${PORT-80}", "4001"),
        ("${PORT:+yes}", "yes"),
        ("${PORT:?no port}", "4001"),
        ("${PORT_1:-80}", "80"),
        ("${PORT_1:+yes}", ""),
        ("${PORT_1}", "${PORT_1}"),
        ("$PORT_1", "$PORT_1"),
        ("$PORTS $PORT_X $HOME ${HOME}", "$PORTS $PORT_X $HOME ${HOME}"),
        ("$PORT_80001", "$PORT_80001"),
        ("$PORT$PORT", "40014001"),
        ("", ""),
    ],
)
def test_references_to_ports_are_replaced_and_nothing_else(text: str, expected: str) -> None:
    assert substitute(text, VALUES) == expected


def test_the_loader_is_told_to_leave_these_names() -> None:
    assert frozenset({"PORT", "PORT_*"}) == DEFERRED
