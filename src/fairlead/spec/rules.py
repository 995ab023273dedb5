"""Tables keyed by key paths with wildcards: ``services.*.ports`` → what to do there.

The merge rules, the casts and the canonical forms are such tables; a walk over the tree descends the table at the
same time, so that finding the rule of a node costs one dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Rules(Generic[T]):
    """One level of a table: the rule of this node, and the tables of its children."""

    __slots__ = ("_any", "_children", "rule")

    def __init__(self) -> None:
        self.rule: T | None = None
        self._children: dict[str, Rules[T]] = {}
        self._any: Rules[T] | None = None

    def below(self, key: str) -> Rules[T] | None:
        """The table for the child ``key``; None when no rule can apply below."""
        return self._children.get(key) or self._any

    def add(self, pattern: str, rule: T) -> None:
        """Put ``rule`` at ``pattern``, where ``*`` stands for any key and ``[]`` for any item of a list."""
        node = self
        for step in pattern.split("."):
            if step in ("*", "[]"):
                node._any = node._any or Rules()
                node = node._any
            else:
                node = node._children.setdefault(step, Rules())
        node.rule = rule


def words(text: str) -> tuple[str, ...]:
    """The words of ``text``: how the tables write long lists of keys."""
    return tuple(text.split())


def rules(table: Mapping[str, T]) -> Rules[T]:
    """The table as a tree."""
    made: Rules[T] = Rules()
    for pattern, rule in table.items():
        made.add(pattern, rule)
    return made
