"""The routes as comments of ``haproxy.cfg``: the second place that knows them, should ``state.json`` be lost.

Written by `render` with each configuration, read by `router`. The configuration of a running HAProxy names every route
that it has; its endpoints change without a reload, so they stand nowhere here.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from fairlead.routers.haproxy.layout import Frontend
from fairlead.routers.haproxy.state import Desired
from fairlead.routing import Route

_MARK = "# route "


class _Line(msgspec.Struct):
    port: int
    route: Route


def lines(frontends: Iterable[Frontend]) -> list[str]:
    """One comment a route, with the port that it really listens on."""
    return [
        _MARK + msgspec.json.encode(_Line(frontend.listen.port, replace(route, endpoints=()))).decode()
        for frontend in frontends
        for route in frontend.routes
    ]


def recorded(config: str) -> Desired:
    """The routes that ``config`` was written for, without their endpoints."""
    projects: dict[str, tuple[Route, ...]] = {}
    chosen: dict[str, int] = {}
    for text in config.splitlines():
        if not text.startswith(_MARK):
            continue
        try:
            line = msgspec.json.decode(text.removeprefix(_MARK), type=_Line)
        except msgspec.DecodeError:
            continue  # of another version
        projects[line.route.project] = (*projects.get(line.route.project, ()), line.route)
        if not line.route.listen.port:
            chosen[line.route.key] = line.port
    return Desired(projects, chosen)
