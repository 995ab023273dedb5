"""`fairlead exec`: run a command where a replica runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_services_and_replicas
from fairlead.cli.options import json_option, seconds, selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(
    short_help="Run a command where a replica runs",
    context_settings={"allow_interspersed_args": False},
)
@selection_options
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(max=3600),
    callback=seconds,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="End the command after that long.",
)
@json_option
@click.argument("target", metavar="SERVICE|REPLICA", shell_complete=complete_services_and_replicas)
@click.argument("argv", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
def command(
    selection: Selection,
    timeout_s: float,
    as_json: bool,
    target: str,
    argv: tuple[str, ...],
) -> None:
    """Run a command where a replica runs, with its environment, and exit as it does.

    A service stands for its first ready replica. The command gets no input and no terminal; it may write up to
    what the engine keeps of an output.
    """
    from fairlead.cli.output import print_json
    from fairlead.cli.session import Session
    from fairlead.errors import DeadlineError

    session = Session()
    client, name = session.of_project(selection)
    replica = session.replica(client, name, target)
    result = client.run(name, replica.id, argv[1:] if argv[0] == "--" else argv, timeout_s)
    if as_json:
        print_json(result)
    else:
        click.echo(result.output, nl=False)
    if result.timed_out:
        raise DeadlineError(f"the command did not end within {timeout_s:g} s", hint="--timeout gives it longer")
    if result.status:
        # A signal as the shell shows it.
        raise click.exceptions.Exit(result.status if result.status > 0 else 128 - result.status)
