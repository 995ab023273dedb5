"""`healthcheck`."""

from __future__ import annotations

import pytest

from .loading import problem, project, service


def test_canonical() -> None:
    times = "interval: 90s, timeout: 1500ms, start_period: 0s, start_interval: 1s"
    assert service(f"healthcheck: {{test: curl x, retries: '3', {times}}}")["healthcheck"] == {
        "test": ["CMD-SHELL", "curl x"],
        "timeout": "1.5s",
        "interval": "1m30s",
        "retries": 3,
        "start_period": "0s",
        "start_interval": "1s",
    }


@pytest.mark.parametrize(
    ("test", "typed", "disable"),
    [
        ("curl x", ("CMD-SHELL", "curl x"), False),
        ("[CMD, curl, x]", ("curl", "x"), False),
        ("[CMD-SHELL, curl x]", ("CMD-SHELL", "curl x"), False),
        ("[NONE]", (), True),
    ],
)
def test_typed(test: str, typed: tuple[str, ...], disable: bool) -> None:
    found = (
        project(f"services: {{a: {{image: x, healthcheck: {{test: {test}, interval: 1m}}}}}}").services["a"].healthcheck
    )
    assert found is not None
    assert (found.test, found.disable, found.interval_s) == (typed, disable, 60.0)


@pytest.mark.parametrize(
    ("text", "words", "key"),
    [
        ("{test: [curl, x]}", "starts with CMD", "test"),
        ("{interval: 30}", "expected a string", "interval"),
        ("{interval: '30'}", "is not a duration", "interval"),
        ("{retries: many}", "is not an integer", "retries"),
        ("{retries: -1}", "0 or more", "retries"),
        ("{disable: maybe}", "neither true nor false", "disable"),
        ("{intervall: 1s}", "unknown key", "intervall"),
    ],
)
def test_problems(text: str, words: str, key: str) -> None:
    found = problem(f"healthcheck: {text}")
    assert words in found.message
    assert found.key == f"services.a.healthcheck.{key}"
