"""What each project's load balancer was told last, and whether it has shown that it took effect.

Used by `core`. Kept in memory only: a controller that starts believes nothing until it has told the proxy something
itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.observed import Observation
from fairlead.rollout.commands import AGAIN, ApplyRoutes, Command
from fairlead.rollout.definition import Definition
from fairlead.rollout.pools import difference_of_pools
from fairlead.routing import Route

SHOW_S = 0.5
"""How long the proxy may take to show what it said that it serves, until it is told again."""

OWE_S = 5.0
"""How long it may still owe something else that it said. Until then it is not told what it seems to serve already: that
it looks so afterwards too would prove nothing."""


class Told:
    """By project: the routes that the proxy said it serves and has not shown yet, and whether it is believed."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[tuple[Route, ...], float]] = {}
        self._believed: set[str] = set()
        self._owed_since_s: dict[str, float] = {}

    def telling(self, project: str) -> None:
        """The proxy is being told something new: until it has answered nothing is certain."""
        self._told.pop(project, None)
        self._believed.discard(project)

    def answered(self, project: str, routes: tuple[Route, ...], now_s: float) -> None:
        """The proxy says that it serves ``routes``."""
        self._told[project] = (routes, now_s)
        self._owed_since_s[project] = now_s

    def moments_s(self, project: str) -> tuple[float, ...]:
        """When it is told again what it has not shown by then; none where nothing is expected of it."""
        found = [self._told[project][1] + SHOW_S] if project in self._told else []
        if project in self._owed_since_s:
            found.append(self._owed_since_s[project] + OWE_S)
        return tuple(found)

    def has_taken_effect(self, observation: Observation, definitions: Iterable[Definition], now_s: float) -> bool:
        """Whether the proxy has shown what it was last told, so that nothing older can come into effect any more.

        False until this controller has told it something: its predecessor may have asked for more than is known.
        """
        name = observation.project
        if name in self._told:
            routes, at_s = self._told[name]
            taken_at_s = now_s if observation.taken_at_s is None else observation.taken_at_s
            if observation.routes_known and taken_at_s >= at_s and not difference_of_pools(routes, observation.routes):
                del self._told[name]
                self._owed_since_s.pop(name, None)
                self._believed.add(name)
        return name in self._believed or not any(d.routes for d in definitions)

    def has_to_show(self, project: str, command: Command, now_s: float) -> bool:
        """The proxy said a moment ago that it serves exactly this, or still owes something else that has to be seen
        first: give it a little time to show it."""
        if not isinstance(command, ApplyRoutes):
            return False
        told = self._told.get(project)
        if told is not None and told[0] == command.routes:
            return now_s - told[1] < SHOW_S
        owed_since_s = self._owed_since_s.get(project)
        return command.cause == AGAIN and owed_since_s is not None and now_s - owed_since_s < OWE_S
