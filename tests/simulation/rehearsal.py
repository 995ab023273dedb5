"""A history lived through again with some of its faults left out, and everything else as like it as can be.

Used by `shrink`. A fault is known by its kind and the number of its chance, a number that is drawn by the line that
draws it and how often that line has: so leaving one fault out does not decide about all that comes after it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from random import Random

from tests.simulation.faults import Faults

Injection = tuple[str, int]
"""What the injector or an operator did: its kind, and the number of its chance."""

Place = tuple[str, int, int]
"""Where a number was drawn: file, line, and how often it has been drawn there."""

_SHARED = ("random.py", "world.py")


class Rehearsal:
    """``only``: the injections that happen; None: all that the seed says. ``like``: the history it resembles.

    ``done``: the injections that happened.
    """

    def __init__(self, seed: int, only: Collection[Injection] | None = None, like: Rehearsal | None = None) -> None:
        self.seed = seed
        self.faults = _Chosen(seed, only)
        self.rng = _Draws(f"{seed}:world", like.rng.made if like is not None else None)

    @property
    def done(self) -> list[Injection]:
        return self.faults.done


class _Chosen(Faults):
    def __init__(self, seed: int, only: Collection[Injection] | None) -> None:
        super().__init__(seed)
        self.done: list[Injection] = []
        self._only = None if only is None else frozenset(only)
        self._chances: Counter[str] = Counter()

    def hit(self, name: str) -> bool:
        return name in self.rates and not self.healed and self._note(name, super().hit(name))

    def goes(self, kind: str) -> bool:
        return self._note(kind, True)

    def _note(self, kind: str, would: bool) -> bool:
        injection = (kind, self._chances[kind])
        self._chances[kind] += 1
        happens = would if self._only is None else injection in self._only
        if happens:
            self.done.append(injection)
        return happens


class _Draws(Random):
    """``made``: what was drawn, by place; where ``known`` has the place, that is drawn again."""

    def __init__(self, seed: str, known: dict[Place, float] | None) -> None:
        super().__init__(seed)
        self.made: dict[Place, float] = {}
        self._known = known
        self._times: Counter[tuple[str, int]] = Counter()

    def random(self) -> float:
        place = self._place()
        if self._known is None:
            value = super().random()
        else:
            value = self._known[place] if place in self._known else Random(repr(place)).random()
        self.made[place] = value
        return value

    def getrandbits(self, k: int, /) -> int:
        place = self._place()
        if self._known is None:
            value = super().getrandbits(k)
        else:
            value = int(self._known.get(place, -1))
            if not 0 <= value < 1 << k:
                value = Random(repr(place)).getrandbits(k)
        self.made[place] = value
        return value

    def _place(self) -> Place:
        frame = sys._getframe(2)
        while frame.f_code.co_filename.endswith(_SHARED) and frame.f_back is not None:
            frame = frame.f_back
        line = (frame.f_code.co_filename, frame.f_lineno)
        self._times[line] += 1
        return (*line, self._times[line])
