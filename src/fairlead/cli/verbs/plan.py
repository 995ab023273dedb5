"""`fairlead plan`: what `up` would do, and what the engine makes of the file."""

from __future__ import annotations

import click

from fairlead.cli.candidates import complete_engines
from fairlead.cli.options import assignments, counts, json_option
from fairlead.cli.project_options import project_options


@click.command(short_help="Show what `up` would do, and what the engine makes of the file")
@project_options
@click.option(
    "--engine", metavar="NAME", shell_complete=complete_engines, help="Where it would run: process or docker."
)
@click.option("--scale", metavar="SERVICE=N", multiple=True, callback=assignments, help="As for `up`.")
@click.option("--force-recreate", is_flag=True, help="As for `up`.")
@click.option("--strict", is_flag=True, help="Refuse a file of which the engine would ignore anything.")
@click.option("--keys", "everything", is_flag=True, help="Show the keys that are honoured too.")
@json_option
def command(
    engine: str | None,
    scale: tuple[tuple[str, str], ...],
    force_recreate: bool,
    strict: bool,
    everything: bool,
    as_json: bool,
    **_project: object,
) -> None:
    """Show what `fairlead up` would do, step by step with the cause of each, and change nothing.

    Below it stands what the engine ignores or refuses of the file, with the reason.
    """
    import msgspec

    from fairlead.cli.desired import Wish, desired
    from fairlead.cli.output import print_json, say
    from fairlead.cli.preflight import findings_json, print_findings, refuse, strictly
    from fairlead.cli.session import Session
    from fairlead.plan.operations import Plan
    from fairlead.plan.render import render

    session = Session()
    wanted = desired(session, Wish(engine=engine, scale=counts(scale), force_recreate=force_recreate))
    findings = strictly(wanted.findings) if strict else wanted.findings
    answer = session.started().plan(wanted.request)
    if as_json:
        print_json(answer | {"engine": wanted.request.engine, "keys": findings_json(findings)})
    else:
        say(render(msgspec.convert(answer, type=Plan)))
        print_findings(findings, wanted.capabilities, everything=everything)
    refuse(findings, wanted.capabilities.name, strict=strict)
