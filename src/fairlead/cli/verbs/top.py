"""`fairlead top`: the processes of the replicas."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_services
from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.output import Row
    from fairlead.cli.selection import Selection
    from fairlead.controller.controls import ProcessRow

_HEADERS = ("REPLICA", "PID", "PARENT", "USER", "UP", "CPU TIME", "MEMORY", "COMMAND")


@click.command(short_help="List the processes of the replicas")
@click.argument("services", nargs=-1, metavar="[SERVICE]...", shell_complete=complete_services)
@selection_options
@json_option
def command(services: tuple[str, ...], selection: Selection, as_json: bool) -> None:
    """List the processes of each replica of each SERVICE, or of all, as the machine that runs them counts them."""
    from fairlead.cli.output import note, print_json, print_table
    from fairlead.cli.session import Session

    session = Session()
    client, name = session.of_project(selection)
    session.check_services(client, name, services)
    rows = [row for row in client.processes(name) if not services or row.service in services]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(_HEADERS, [_row(row, time.time()) for row in rows])
    else:
        note(f"nothing of `{name}` runs, or its engine cannot tell")


def _row(row: ProcessRow, now_s: float) -> Row:
    from fairlead.cli.output import Cell, duration, size
    from fairlead.cli.paint import Tone

    return (
        row.replica,
        str(row.pid),
        Cell("" if row.parent is None else str(row.parent), Tone.DIM),
        row.user,
        duration(None if row.started_at_s is None else now_s - row.started_at_s),
        duration(row.cpu_s),
        "" if row.memory_bytes is None else size(row.memory_bytes),
        row.command,
    )
