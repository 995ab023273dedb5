"""`fairlead pause`: hold a release where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection

_UNDER_WAY = ("releasing", "rolling-back", "paused")


@click.command(short_help="Hold a release where it is")
@selection_options
@json_option
def command(selection: Selection, as_json: bool) -> None:
    """Hold the release of a project where it is: what serves goes on serving, nothing more is replaced.

    `fairlead resume` lets it go on.
    """
    from fairlead.cli.output import print_json, say
    from fairlead.cli.session import Session
    from fairlead.errors import RefusedError

    client, name = Session().of_project(selection)
    if client.project(name).state not in _UNDER_WAY:
        raise RefusedError(
            f"no release of {name} is under way, so there is none to hold",
            hint="the next one begins with `fairlead up`; pause it from another terminal",
        )
    status = client.pause(name)
    if as_json:
        print_json(status)
    else:
        say(f"{name}: paused; `fairlead resume -p {name}` lets it go on")
