"""`fairlead plan`: what `up` would do, and what the engine makes of the file."""

from __future__ import annotations

import click

from fairlead.cli.options import assignments, counts, json_option, selection_options


@click.command(short_help="Show what `up` would do, and what the engine makes of the file")
@selection_options
@click.option("--engine", metavar="NAME", help="Where it would run: process, docker, swarm or kubernetes.")
@click.option("--scale", metavar="SERVICE=N", multiple=True, callback=assignments, help="As for `up`.")
@click.option("--force-recreate", is_flag=True, help="As for `up`.")
@click.option("--strict", is_flag=True, help="Refuse a file of which the engine would ignore anything.")
@json_option
def command(
    project: str | None,
    files: tuple[str, ...],
    engine: str | None,
    scale: tuple[tuple[str, str], ...],
    force_recreate: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Show what `fairlead up` would do, step by step with the cause of each, and change nothing.

    Below it stands what the engine ignores or refuses of the file, with the reason.
    """
    import msgspec

    from fairlead.cli.desired import Wish, request_of
    from fairlead.cli.output import print_json, say
    from fairlead.cli.session import Session
    from fairlead.plan.operations import Plan
    from fairlead.plan.render import render

    session = Session()
    wish = Wish(files=files, project=project, engine=engine, scale=counts(scale), force_recreate=force_recreate)
    request = request_of(session, wish, session.found())
    answer = session.started().plan(request)
    if as_json:
        print_json(answer)
    else:
        say(render(msgspec.convert(answer, type=Plan)).rstrip("\n"))
