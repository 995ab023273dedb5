"""`fairlead pause`: hold a release where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Hold a release where it is")
@selection_options
@json_option
def command(selection: Selection, as_json: bool) -> None:
    """Hold the release of a project where it is: what serves goes on serving, nothing more is replaced.

    `fairlead resume` lets it go on.
    """
    from fairlead.cli.output import print_json, say
    from fairlead.cli.session import Session

    client, name = Session().of_project(selection)
    status = client.pause(name)
    if as_json:
        print_json(status)
    else:
        say(f"{name}: paused; `fairlead resume -p {name}` lets it go on")
