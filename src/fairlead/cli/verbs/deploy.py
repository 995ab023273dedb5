"""`fairlead deploy`: one service with another image or environment, without editing the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.candidates import complete_services
from fairlead.cli.options import (
    Following,
    assignments,
    release_options,
    selection_options,
)

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Release one service with another image or environment")
@click.argument("service", shell_complete=complete_services)
@click.option("--image", metavar="REF", help="The image to run.")
@click.option(
    "-e",
    "--env",
    "environment",
    metavar="NAME=VALUE",
    multiple=True,
    callback=assignments,
    help="A variable to set on top of the file's; may be given several times.",
)
@selection_options
@release_options
def command(
    service: str,
    image: str | None,
    environment: tuple[tuple[str, str], ...],
    selection: Selection,
    following: Following,
) -> None:
    """Release SERVICE with another image or environment, without editing the Compose file.

    The next `fairlead up` brings back what the file says.
    """
    from fairlead.cli.outcome import conclude
    from fairlead.cli.session import Session

    if image is None and not environment:
        raise click.UsageError("nothing to change: give --image REF, --env NAME=VALUE or both")
    if image is not None and not image.strip():
        raise click.UsageError("--image is empty: give the image to run")
    session = Session()
    client, name = session.of_project(selection)
    conclude(session, client.deploy(name, service, image, dict(environment)), following)
