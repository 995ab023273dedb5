"""`fairlead status`: projects, services and the release under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.paint import Tone
    from fairlead.cli.selection import Selection
    from fairlead.controller.controls import ProjectStatus, ServiceRow


@click.command(short_help="Show projects, services and the release under way")
@click.option("-a", "--all", "everything", is_flag=True, help="All projects, not the one here alone.")
@selection_options
@json_option
def command(everything: bool, selection: Selection, as_json: bool) -> None:
    """Show the project here, service by service; all projects where there is no Compose file.

    With --json it is a list, one object a project.
    """
    from fairlead.cli.output import note, print_json, say
    from fairlead.cli.session import Session

    session = Session()
    name = None if everything else selection.name
    client = session.found()
    known = client.projects() if client else ()
    shown = [status for status in known if name is None or status.name == name]
    if as_json:
        print_json(shown)
        return
    if not shown:
        others = ", ".join(sorted(status.name for status in known))
        note((f"{name}: down" if name else "no projects") + (f"; projects here: {others}" if others else ""))
    for place, status in enumerate(shown):
        if place:
            say()
        _print(status)


def _print(status: ProjectStatus) -> None:
    from fairlead.cli.output import Cell, print_table, say
    from fairlead.cli.paint import STATE_TONES, Tone, paint, symbol

    parts = [
        paint(status.name, Tone.STRONG),
        paint(status.state, STATE_TONES.get(status.state, Tone.PLAIN)),
        f"release {status.release}" if status.release is not None else "no release yet",
        f"engine {status.engine}",
    ]
    say(f" {symbol('dot')} ".join(parts))
    if status.operation is not None and status.operation.ended_at_s is None:
        say(f"  {status.operation.kind} under way{': ' if status.operation.message else ''}{status.operation.message}")
    rows = [
        (
            service.name,
            Cell(_ready(service), _tone(service)),
            Cell(service.phase, STATE_TONES.get(service.phase, Tone.BUSY)),
            Cell(service.revision or "", Tone.DIM),
            ", ".join(service.published),
            Cell(service.message, Tone.DIM),
        )
        for service in status.services
    ]
    print_table(("",) * 6, rows, indent="  ")


def _ready(service: ServiceRow) -> str:
    old = f" + {service.old_ready} old" if service.old_ready else ""
    return f"{service.ready}/{service.replicas} ready{old}"


def _tone(service: ServiceRow) -> Tone:
    from fairlead.cli.paint import Tone

    return Tone.GOOD if service.ready >= service.replicas else Tone.WARN
