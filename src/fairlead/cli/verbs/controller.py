"""`fairlead controller`: the process that observes, decides and acts."""

from __future__ import annotations

import time

import click

from fairlead.cli.options import json_option

_STOP_TIMEOUT_S = 30.0
_LOOK_INTERVAL_S = 0.05


@click.group(short_help="Run, inspect or stop the controller")
def command() -> None:
    """Run, inspect or stop the controller of this home (FAIRLEAD_HOME).

    The commands that need one start it in the background, so there is rarely a reason to.
    """


@command.command()
def run() -> None:
    """Run the controller in the foreground, for an init system or to watch it at work."""
    from fairlead.api.daemon import run as run_controller
    from fairlead.cli.session import Session

    raise click.exceptions.Exit(run_controller(Session().settings))


@command.command()
@json_option
def status(as_json: bool) -> None:
    """Show the controller's process; exit code 7 where none runs."""
    from fairlead.api.client import Client
    from fairlead.cli.output import duration, print_json, print_table, size
    from fairlead.cli.session import Session

    session = Session()
    found = Client(session.settings.socket_path).status()
    if as_json:
        print_json(found)
        return
    rows = [
        ("pid", str(found.pid)),
        ("version", found.version),
        ("up", duration(time.time() - found.started_at_s)),
        ("home", found.home),
        ("log", str(session.settings.log_path)),
        ("projects", ", ".join(found.projects) or "none"),
        ("memory", size(found.memory_bytes)),
        ("CPU", f"{found.cpu_s:.1f} s in all"),
        ("epoch", str(found.epoch)),
    ]
    print_table(("", ""), rows)


@command.command()
def stop() -> None:
    """Stop the controller; replicas and router go on, and the next command that needs one starts it again."""
    from fairlead.cli.output import note, say
    from fairlead.cli.session import Session
    from fairlead.cli.spawn import is_alive
    from fairlead.errors import DeadlineError

    session = Session()
    client = session.running()
    if client is None:
        note("no controller runs")
        return
    projects = client.status().projects
    client.stop_controller()
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while is_alive(session.settings):
        if time.monotonic() > deadline:
            raise DeadlineError(f"the controller still runs after {_STOP_TIMEOUT_S:.0f} s")
        time.sleep(_LOOK_INTERVAL_S)
    say(f"the controller has stopped; {'replicas and router go on' if projects else 'no project was running'}")
