"""`fairlead resume`: let a held release go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Let a held release go on")
@selection_options
@json_option
def command(selection: Selection, as_json: bool) -> None:
    """Let the release of a project go on after `fairlead pause` or after it paused itself."""
    from fairlead.cli.output import print_json, say
    from fairlead.cli.session import Session

    client, name = Session().of_project(selection)
    status = client.resume(name)
    if as_json:
        print_json(status)
    else:
        say(f"{name}: goes on; `fairlead status -p {name}` shows how far it is")
