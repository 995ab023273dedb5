"""Sizes and durations as a file may write them."""

from __future__ import annotations

import pytest

from fairlead.docker_api.units import duration_s, size_bytes
from fairlead.errors import StartFailedError


@pytest.mark.parametrize(
    ("text", "size"),
    [("64m", 64 << 20), ("1.5g", 3 << 29), ("512kb", 512 << 10), ("10", 10), (7, 7), ("-1", -1), ("2GiB", 2 << 30)],
)
def test_sizes(text: object, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90.0), ("500ms", 0.5), (3, 3.0), ("1h", 3600.0)])
def test_durations(text: object, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["many", "1x", ""])
def test_nonsense_is_named(text: str) -> None:
    with pytest.raises(StartFailedError):
        size_bytes(text)
    with pytest.raises(StartFailedError):
        duration_s(text)
