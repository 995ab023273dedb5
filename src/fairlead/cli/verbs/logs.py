"""`fairlead logs`: what the replicas write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_services
from fairlead.cli.options import Whole, json_option, long_selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Show what the replicas write")
@click.argument("services", nargs=-1, metavar="[SERVICE]...", shell_complete=complete_services)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C, new replicas included.")
@click.option("-n", "--tail", type=Whole(min=0), metavar="N", help="The last N lines of each replica alone.")
@long_selection_options
@json_option
def command(
    services: tuple[str, ...],
    follow: bool,
    tail: int | None,
    selection: Selection,
    as_json: bool,
) -> None:
    """Show what the replicas of each SERVICE, or of all, write; each line behind its replica's name.

    With --json one object a line.
    """
    from fairlead.cli.attach import Attachment, LogPrinter, Subject, until_interrupted
    from fairlead.cli.output import print_json_line
    from fairlead.cli.session import Session

    if follow and (file := next((name for name in services if name.endswith((".yaml", ".yml"))), None)):
        raise click.UsageError(f"-f means to follow here, and {file!r} looks like a file: give it with --file")
    session = Session()
    client, name = session.of_project(selection)
    show = print_json_line if as_json else LogPrinter(name)
    if not follow:
        for line in client.logs(name, services, tail=tail):
            show(line)
        return
    with until_interrupted():
        Attachment(session, Subject(project=name, services=services, tail=tail), show_log=show).run()
