"""`fairlead scale`: how many replicas a service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_services
from fairlead.cli.options import Following, assignments, counts, following_options, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Set how many replicas a service has")
@click.argument(
    "replicas",
    nargs=-1,
    required=True,
    metavar="SERVICE=N...",
    callback=assignments,
    shell_complete=complete_services,
)
@selection_options
@following_options
def command(replicas: tuple[tuple[str, str], ...], selection: Selection, following: Following) -> None:
    """Set how many replicas each SERVICE has: fairlead scale api=5 worker=2."""
    from fairlead.cli.outcome import conclude
    from fairlead.cli.session import Session

    wanted = counts(replicas)
    session = Session()
    client, name = session.of_project(selection)
    conclude(session, client.scale(name, wanted), following)
