"""`fairlead down`: the end of a project."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from fairlead.cli.options import Following, following_options, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Stop a project and remove its replicas")
@click.option("-v", "--volumes", is_flag=True, help="Remove its named volumes too, with all that is in them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before volumes are removed.")
@selection_options
@following_options
def command(volumes: bool, yes: bool, selection: Selection, following: Following) -> None:
    """Stop a project: its published ports close, its replicas end and are removed.

    Volumes stay, unless --volumes is given.
    """
    from fairlead.cli.outcome import conclude
    from fairlead.cli.session import Session

    session = Session()
    client, name = session.of_project(selection)
    if volumes and not yes:
        _ask(name)
    conclude(session, client.down(name, volumes=volumes), following)


def _ask(name: str) -> None:
    from fairlead.cli.paint import is_terminal
    from fairlead.errors import RefusedError

    if not is_terminal(sys.stdin):
        raise RefusedError(
            f"removing the volumes of `{name}` needs a yes, and there is no terminal to ask on",
            hint="add --yes if the data shall go",
        )
    if not click.confirm(f"Remove the volumes of `{name}`, with all data in them?", err=True):
        raise RefusedError("nothing was changed")
