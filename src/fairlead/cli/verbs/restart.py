"""`fairlead restart`: replace replicas by new ones of the same revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_services
from fairlead.cli.options import Following, release_options, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Replace the replicas of services by new ones")
@click.argument("services", nargs=-1, metavar="[SERVICE]...", shell_complete=complete_services)
@selection_options
@release_options
def command(services: tuple[str, ...], selection: Selection, following: Following) -> None:
    """Replace the replicas of each SERVICE, or of all, by new ones of the same revision.

    It goes the way of a release: the new ones are ready before the old ones leave.
    """
    from fairlead.cli.outcome import conclude
    from fairlead.cli.session import Session

    session = Session()
    client, name = session.of_project(selection)
    conclude(session, client.restart(name, services), following)
