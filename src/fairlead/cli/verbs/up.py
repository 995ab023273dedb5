"""`fairlead up`: release the Compose file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_engines
from fairlead.cli.options import Following, assignments, counts, release_options
from fairlead.cli.project_options import project_options

if TYPE_CHECKING:
    from fairlead.cli.session import Session
    from fairlead.controller.controls import Operation


@click.command(
    short_help="Release the Compose file: start it, or bring it up to date",
    context_settings={"allow_extra_args": True},
)
@click.option("-d", "--detach", is_flag=True, help="Return when the release has ended; exit code 0 only if it serves.")
@project_options
@click.option("--engine", metavar="NAME", shell_complete=complete_engines, help="Where it runs: process or docker.")
@click.option(
    "--scale",
    metavar="SERVICE=N",
    multiple=True,
    callback=assignments,
    help="So many replicas, whatever the file says; may be given several times.",
)
@click.option("--force-recreate", is_flag=True, help="Replace every replica, even where nothing changed.")
@click.option("--strict", is_flag=True, help="Refuse a file of which the engine would ignore anything.")
@release_options
def command(
    detach: bool,
    engine: str | None,
    scale: tuple[tuple[str, str], ...],
    force_recreate: bool,
    strict: bool,
    following: Following,
    **_project: object,
) -> None:
    """Release the Compose file: start it, or bring what runs up to date without failing a request.

    Without -d it stays with the project and shows its logs and events. Ctrl-C detaches; a release under way
    goes on in the background.
    """
    from fairlead.cli.desired import Wish, desired
    from fairlead.cli.failure import usage
    from fairlead.cli.outcome import conclude
    from fairlead.cli.output import note
    from fairlead.cli.preflight import give_notice, refuse, strictly
    from fairlead.cli.session import Session

    if extra := click.get_current_context().args:
        raise usage(
            f"`up` takes no service or file, and {extra[0]!r} was given: a release is of the whole project",
            "-f names a file; `fairlead restart SERVICE` and `fairlead scale SERVICE=N` are for one service",
        )
    session = Session()
    wanted = desired(session, Wish(engine=engine, scale=counts(scale), force_recreate=force_recreate))
    findings = strictly(wanted.findings) if strict else wanted.findings
    refuse(findings, wanted.capabilities.name, strict=strict)
    give_notice(findings)
    operation = session.started().up(wanted.request)
    staying = following.wait and not (detach or following.as_json)
    released = False
    try:
        after = conclude(session, operation, following)
        released = True
        if staying:
            _stay(session, operation, after)
    except KeyboardInterrupt:
        if not (released and staying):
            raise
        name = operation.project
        note(f"\ndetached: {name} goes on; `fairlead logs -f -p {name}` comes back, `fairlead down -p {name}` ends it")


def _stay(session: Session, operation: Operation, after: int) -> None:
    from fairlead.cli.attach import Attachment, Subject
    from fairlead.cli.output import note

    name = operation.project
    Attachment(session, Subject(project=name, after=after, tail=100, since_s=operation.started_at_s)).run()
    note(f"{name} is down")
