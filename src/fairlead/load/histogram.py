"""Durations in buckets that each are 2 % wider than the one before: a million values in a few hundred counters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_STEP = math.log(1.02)
_SMALLEST_MS = 0.001


class Histogram:
    """Counts of durations in milliseconds; a quantile is right to within 1 %, the extremes exactly."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.total_ms = 0.0
        self.max_ms = 0.0

    def add(self, value_ms: float) -> None:
        value_ms = max(value_ms, _SMALLEST_MS)
        self._counts[math.floor(math.log(value_ms / _SMALLEST_MS) / _STEP)] += 1
        self.count += 1
        self.total_ms += value_ms
        self.max_ms = max(self.max_ms, value_ms)

    def extend(self, values_ms: Iterable[float]) -> None:
        for value_ms in values_ms:
            self.add(value_ms)

    def quantile(self, share: float) -> float:
        """The duration that ``share`` (0 to 1) of the values do not exceed; 0 when there is none."""
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                middle_ms = _SMALLEST_MS * math.exp((bucket + 0.5) * _STEP)
                return min(middle_ms, self.max_ms)
        return 0.0

    def to_json(self) -> Mapping[str, Any]:
        """``{count, mean, p50, p90, p99, p999, max}``, durations in milliseconds."""
        mean_ms = self.total_ms / self.count if self.count else 0.0
        quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
        return {
            "count": self.count,
            "mean": round(mean_ms, 3),
            **{name: round(self.quantile(share), 3) for name, share in quantiles.items()},
            "max": round(self.max_ms, 3),
        }
