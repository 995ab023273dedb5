"""Compare two outcomes, and name the first difference."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from tests.integration.parity.purpose import purpose_of
from tests.integration.parity.sides import Outcome


class Verdict(StrEnum):
    EQUAL = "both accept, equal"
    DIFFERENT = "both accept, different"
    ONLY_ORACLE = "only Docker Compose accepts"
    ONLY_FAIRLEAD = "only Fairlead accepts"
    REJECTED = "both reject"
    PURPOSE = "different on purpose"
    CRASHED = "Fairlead crashed"


SAME = (Verdict.EQUAL, Verdict.REJECTED, Verdict.PURPOSE)


def judge(oracle: Outcome, fairlead: Outcome) -> tuple[Verdict, str]:
    """The verdict, and a line about it."""
    verdict, words = _judge(oracle, fairlead)
    reason = purpose_of(words) if verdict in (Verdict.ONLY_FAIRLEAD, Verdict.DIFFERENT) else ""
    return (Verdict.PURPOSE, f"{reason}: {words}") if reason else (verdict, words)


def _judge(oracle: Outcome, fairlead: Outcome) -> tuple[Verdict, str]:
    if fairlead.crash:
        return Verdict.CRASHED, fairlead.error
    if oracle.tree is None and fairlead.tree is None:
        return Verdict.REJECTED, f"{_short(oracle.error)} | {_short(fairlead.error)}"
    if oracle.tree is None:
        return Verdict.ONLY_FAIRLEAD, _short(oracle.error)
    if fairlead.tree is None:
        return Verdict.ONLY_ORACLE, _short(fairlead.error)
    found = first_difference(oracle.tree, fairlead.tree, "")
    return (Verdict.DIFFERENT, found) if found else (Verdict.EQUAL, "")


def first_difference(expected: Any, found: Any, path: str) -> str:
    """``path: expected … found …`` of the first place where the two differ; empty when they are equal."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            if key not in found:
                return f"{path}.{key}: missing, expected {_shown(expected[key])}"
            if key not in expected:
                return f"{path}.{key}: not expected, found {_shown(found[key])}"
            if below := first_difference(expected[key], found[key], f"{path}.{key}"):
                return below
        return ""
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            if below := first_difference(one, other, f"{path}[{index}]"):
                return below
        return ""
    same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
    return "" if same else f"{path}: expected {_shown(expected)}, found {_shown(found)}"


def _shown(value: Any) -> str:
    return repr(value)[:120]


def _short(text: str) -> str:
    lines = [line for line in text.splitlines() if line and "level=warning" not in line]
    return " / ".join(lines)[:300]
