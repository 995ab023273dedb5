"""`fairlead history`: the releases of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="List the releases of a project")
@selection_options
@json_option
def command(selection: Selection, as_json: bool) -> None:
    """List the releases of a project, newest first; the one that serves is marked."""
    from fairlead.cli.output import Cell, duration, moment, print_json, print_table
    from fairlead.cli.paint import STATE_TONES, Tone, symbol
    from fairlead.cli.session import Session

    client, name = Session().of_project(selection)
    releases = client.history(name)
    if as_json:
        print_json(releases)
        return
    rows = [
        (
            Cell(symbol("ready") if release.current else "", Tone.GOOD),
            str(release.number),
            release.kind,
            Cell(release.state, STATE_TONES.get(release.state, Tone.PLAIN)),
            Cell(moment(release.started_at_s), Tone.DIM),
            Cell(duration(release.ended_at_s - release.started_at_s) if release.ended_at_s else "", Tone.DIM),
            ", ".join(release.revisions.values()),
            Cell(release.message, Tone.DIM),
        )
        for release in releases
    ]
    print_table(("", "RELEASE", "KIND", "STATE", "BEGAN", "TOOK", "REVISIONS", "MESSAGE"), rows)
