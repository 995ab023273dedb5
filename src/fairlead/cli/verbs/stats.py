"""`fairlead stats`: what the replicas use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_services
from fairlead.cli.options import json_option, selection_options

if TYPE_CHECKING:
    from fairlead.cli.readings import Reading
    from fairlead.cli.selection import Selection
    from fairlead.cli.session import Session
    from fairlead.controller.controls import StatsRow

INTERVAL_S = 1.0
"""Between two samples: long enough for a share of a CPU, short enough to wait for."""

_MOST_LOSSES = 10


@click.command(short_help="Show what the replicas use")
@click.argument("services", nargs=-1, metavar="[SERVICE]...", shell_complete=complete_services)
@click.option("--no-stream", is_flag=True, help="Show it once, after a second, instead of over and over.")
@selection_options
@json_option
def command(services: tuple[str, ...], no_stream: bool, selection: Selection, as_json: bool) -> None:
    """Show what each replica uses: CPU, memory and processes, and its requests where they go through a route.

    On a terminal it goes on until Ctrl-C; in a pipe and with --json it is shown once.
    """
    import sys

    from fairlead.cli.output import note, print_json, say
    from fairlead.cli.paint import is_terminal
    from fairlead.cli.readings import lines
    from fairlead.cli.session import Session

    session = Session()
    client, name = session.of_project(selection)
    session.check_services(client, name, services)
    if is_terminal(sys.stdout) and not (no_stream or as_json):
        _go_on(session, name, services)
        return
    found = _once(session, name, services)
    if as_json:
        print_json(found)
    elif found:
        say("\n".join(lines(found)))
    else:
        note(f"nothing of `{name}` runs")


def _once(session: Session, name: str, services: tuple[str, ...]) -> list[Reading]:
    from fairlead.cli.readings import readings

    before = _sample(session, name, services)
    time.sleep(INTERVAL_S)
    return readings(before, _sample(session, name, services))


def _go_on(session: Session, name: str, services: tuple[str, ...]) -> None:
    """Show it until Ctrl-C, or until the project is gone."""
    from fairlead.cli.attach import until_interrupted
    from fairlead.cli.output import note
    from fairlead.cli.readings import lines, readings
    from fairlead.cli.screen import Screen
    from fairlead.errors import NotFoundError

    before: tuple[StatsRow, ...] = ()
    with until_interrupted():
        try:
            with Screen() as screen:
                while True:
                    now = _sample(session, name, services)
                    screen.show(lines(readings(before, now)))
                    before = now
                    time.sleep(INTERVAL_S)
        except NotFoundError:
            note(f"{name} is down")


def _sample(session: Session, name: str, services: tuple[str, ...]) -> tuple[StatsRow, ...]:
    """One sample, of a controller that is started again where it went away."""
    from fairlead.api.client import ConnectionLostError, NotRunningError

    losses = 0
    while True:
        try:
            rows = session.started().stats(name)
            return tuple(row for row in rows if not services or row.service in services)
        except (ConnectionLostError, NotRunningError):
            losses += 1
            if losses > _MOST_LOSSES:
                raise
