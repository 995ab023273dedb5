"""Numbers, sizes and durations."""

from __future__ import annotations

import pytest

from fairlead.spec.numbers import (
    byte_count,
    duration_text,
    go_text,
    nanoseconds,
    single,
    to_boolean,
    to_float,
    to_integer,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("30s", "30s"), ("90s", "1m30s"), ("1h", "1h0m0s"),
        ("1.5h", "1h30m0s"), ("500ms", "500ms"), ("1500us", "1.5ms"),
        ("0", "0s"), ("0s", "0s"), ("-5s", "-5s"), ("1m0.5s", "1m0.5s"),
        ("100ns", "100ns"), ("1µs", "1µs"), ("+2m", "2m0s"),
    ],
)  # fmt: skip
def test_durations(text: str, canonical: str) -> None:
    assert duration_text(nanoseconds(text)) == canonical


@pytest.mark.parametrize("text", ["", "30", "s", "5 s", "1d", "1m 30s", ".s", "abc", "1" * 200 + "s", "9999999h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        nanoseconds(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("1024", 1024), ("64m", 64 << 20), ("1.5gb", 3 << 29), ("2GiB", 2 << 30), ("1 kb", 1024), ("10B", 10)],
)
def test_sizes(text: str, count: int) -> None:
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["", "-1", "m", "1x", "1.", ".5g", "1 000", "1e3", "9" * 30])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|negative|range"):
        byte_count(text)


def test_integers_and_floats_follow_go() -> None:
    assert to_integer("+05") == 5
    assert to_float("1e3") == 1000.0
    for text in ("1_000", " 1", "1.0", "", "0x1", "9" * 30, "١"):
        with pytest.raises(ValueError, match=r"integer|range"):
            to_integer(text)


def test_booleans_of_yaml_11_are_understood_in_casts() -> None:
    assert [to_boolean(text) for text in ("Yes", "on", "y", "TRUE")] == [True] * 4
    assert [to_boolean(text) for text in ("no", "OFF", "N", "false")] == [False] * 4
    with pytest.raises(ValueError, match="neither true nor false"):
        to_boolean("1")


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "<nil>"), (1, "1"), (0.5, "0.5"), (1000.0, "1000"), (1e6, "1e+06"), (1e-5, "1e-05"),
     (123456789.5, "1.234567895e+08"), (1e21, "1e+21"), (0.0, "0")],
)  # fmt: skip
def test_values_in_text_look_as_in_go(value: object, text: str) -> None:
    assert go_text(value) == text


def test_single_precision_keeps_the_short_form() -> None:
    assert single(0.1) == 0.1
    assert single(1.23456789123) == 1.2345679
