"""`fairlead ps`: the replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.output import Cell
    from fairlead.cli.selection import Selection
    from fairlead.controller.controls import ReplicaRow

_HEADERS = ("REPLICA", "STATE", "REVISION", "ADDRESS", "PID", "IN FLIGHT", "UP", "NOTE")


@click.command(short_help="List the replicas")
@click.option("-a", "--all", "everything", is_flag=True, help="Of all projects, not of the one here alone.")
@selection_options
@json_option
def command(everything: bool, selection: Selection, as_json: bool) -> None:
    """List the replicas of the project here; of all projects where there is no Compose file."""
    from fairlead.cli.output import note, print_json, print_table
    from fairlead.cli.session import Session

    session = Session()
    name = None if everything else selection.name
    client = session.found()
    known = client.replicas() if client else ()
    rows = [row for row in known if name in (None, row.project)]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(_HEADERS, [_row(row) for row in rows])
    else:
        others = ", ".join(sorted({row.project for row in known}))
        here = f"; there are replicas of: {others}" if others else ""
        note(f"no replicas of `{name}`{here}" if name else "no replicas")


def _row(row: ReplicaRow) -> Sequence[Cell | str]:
    from fairlead.cli.output import Cell, duration
    from fairlead.cli.paint import STATE_TONES, Tone

    return (
        row.id,
        Cell(row.state, STATE_TONES.get(row.state, Tone.PLAIN)),
        row.revision,
        row.address or "",
        row.native_id[:12] if row.pid is None else str(row.pid),
        str(row.in_flight) if row.in_flight else "",
        duration(row.uptime_s),
        Cell(_note(row), Tone.BAD if row.state == "failed" else Tone.DIM),
    )


def _note(row: ReplicaRow) -> str:
    parts = [] if row.state == "ready" or not row.reason else [row.reason]
    if row.restarts:
        parts.append("restarted once" if row.restarts == 1 else f"restarted {row.restarts} times")
    return ", ".join(parts)
