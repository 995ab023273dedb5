"""The values that a shell offers for an argument or an option.

Called by click while somebody types. What runs is asked of a controller that runs, never of one to be started, and
whatever goes wrong offers nothing: nobody may write into the line that is being typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from fairlead.settings import ENGINES

if TYPE_CHECKING:
    from fairlead.api.client import Client

_RUNS = frozenset({"starting", "ready", "draining"})
_TIMEOUT_S = 0.5

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _of_the_project(known: Callable[[Client, str], Iterable[CompletionItem]]) -> Complete:
    """Offers what ``known`` finds in the project that the line means so far."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = _project(ctx)
            return _beginning(known(*found), incomplete) if found else []
        except Exception:
            return []

    return complete


def _project(ctx: click.Context) -> tuple[Client, str] | None:
    from fairlead.cli.selection import Selection
    from fairlead.cli.session import Session

    selection = Selection(
        project=ctx.params.get("project_name"),
        files=tuple(ctx.params.get("files") or ()),
        env_files=tuple(ctx.params.get("env_files") or ()),
        directory=ctx.params.get("project_directory"),
    )
    client, name = Session(timeout_s=_TIMEOUT_S).running(), selection.name
    if client is None or name is None:
        return None
    client.on_notice = lambda notice: None  # it would stand in the middle of the line
    return client, name


def _services(client: Client, project: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(service.name for service in client.project(project).services)]


def _services_and_replicas(client: Client, project: str) -> list[CompletionItem]:
    """Replicas by their short names, as before a line of `logs`; `exec` takes them as it takes the long ones."""
    rows = [row for row in client.replicas(project) if row.state in _RUNS]
    rows.sort(key=lambda row: (row.service, row.slot, row.id))
    replicas = [CompletionItem(row.id.removeprefix(f"{project}."), help=row.state) for row in rows]
    return [*_services(client, project), *replicas]


def _releases(client: Client, project: str) -> list[CompletionItem]:
    """All but the one that serves, newest first."""
    return [
        CompletionItem(str(release.number), help=f"{release.state}: {', '.join(release.revisions.values())}")
        for release in client.history(project)
        if not release.current
    ]


def _beginning(items: Iterable[CompletionItem], incomplete: str) -> list[CompletionItem]:
    return [item for item in items if item.value.startswith(incomplete)]


complete_services = _of_the_project(_services)
complete_services_and_replicas = _of_the_project(_services_and_replicas)
complete_releases = _of_the_project(_releases)


def complete_engines(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _beginning(map(CompletionItem, ENGINES), incomplete)
