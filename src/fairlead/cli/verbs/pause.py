"""`fairlead pause`: hold a release where it is."""

from __future__ import annotations

import click

from fairlead.cli.options import json_option, selection_options


@click.command(short_help="Hold a release where it is")
@selection_options
@json_option
def command(project: str | None, files: tuple[str, ...], as_json: bool) -> None:
    """Hold the release of a project where it is: what serves goes on serving, nothing more is replaced.

    `fairlead resume` lets it go on.
    """
    from fairlead.cli.output import print_json, say
    from fairlead.cli.session import Session

    client, name = Session().of_project(project, files)
    status = client.pause(name)
    if as_json:
        print_json(status)
    else:
        say(f"{name}: paused; `fairlead resume -p {name}` lets it go on")
