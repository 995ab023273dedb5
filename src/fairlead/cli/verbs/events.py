"""`fairlead events`: what happened."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from fairlead.cli.options import Whole, json_option, long_selection_options

if TYPE_CHECKING:
    from fairlead.cli.selection import Selection


@click.command(short_help="Show what happened")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("-n", "--tail", type=Whole(min=0), metavar="N", default=100, show_default=True, help="The last N alone.")
@click.option("-a", "--all", "everything", is_flag=True, help="Of all projects, not of the one here alone.")
@long_selection_options
@json_option
def command(follow: bool, tail: int, everything: bool, selection: Selection, as_json: bool) -> None:
    """Show what happened in the project here; in all projects where there is no Compose file.

    With --json one object a line.
    """
    from fairlead.cli.attach import Attachment, Subject, until_interrupted
    from fairlead.cli.output import print_json_line, say
    from fairlead.cli.session import Session
    from fairlead.cli.views import event_line
    from fairlead.store.base import Event

    def show(event: Event) -> None:
        if as_json:
            print_json_line(event)
        else:
            say(event_line(event))

    session = Session()
    name = None if everything else selection.name
    with until_interrupted() if follow else nullcontext():
        client = session.found()
        if follow and tail:
            # One stream for what was and what comes: a controller that goes away in between would be missed.
            Attachment(session, Subject(project=name, after=0, last=tail, logs=False), show_event=show).run()
            return
        after = 0
        # With a tail of 0 the newest one still says after which to follow.
        for event in client.events(name, last=max(tail, 1)) if client else ():
            after = event.id
            if tail:
                show(event)
        if follow:
            Attachment(session, Subject(project=name, after=after, logs=False), show_event=show).run()
