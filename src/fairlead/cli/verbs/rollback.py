"""`fairlead rollback`: release what an earlier release had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_releases
from fairlead.cli.options import Following, Whole, following_options, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Release what an earlier release had")
@click.argument("release", type=Whole(min=1), required=False, shell_complete=complete_releases)
@selection_options
@following_options
def command(release: int | None, selection: Selection, following: Following) -> None:
    """Release what RELEASE had; without it, what the release before the current one had.

    `fairlead history` lists the releases. Every service goes back, in dependency order, and no request fails.
    """
    from fairlead.cli.outcome import conclude
    from fairlead.cli.session import Session

    session = Session()
    client, name = session.of_project(selection)
    conclude(session, client.rollback(name, release), following)
