"""`fairlead doctor`: is this machine, and its Docker daemon, fit for what it is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fairlead.cli.options import json_option
from fairlead.settings import ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead.doctor.finding import Finding

_MARKS = {"ok": "✓", "notice": "·", "warning": "!", "error": "✗"}


@click.command(short_help="Look for what would keep it from working")
@click.option(
    "--port", "ports", type=click.IntRange(1, 65535), multiple=True, help="A port to be published. Repeatable."
)
@click.option("--engine", type=click.Choice(ENGINES), help="Look at what this engine needs alone.")
@json_option
def command(ports: tuple[int, ...], engine: str | None, as_json: bool) -> None:
    """Look at this machine and its Docker daemon, and say of each thing how it is and what to do.

    The exit code is 1 when something would not work.
    """
    from fairlead.cli.output import print_json
    from fairlead.doctor.finding import Level

    findings = _look(ports, engine)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.level]} {finding.check}: {finding.message}")
            if finding.fix and finding.level is not Level.OK:
                click.echo(f"    {finding.fix}")
    if any(finding.level is Level.ERROR for finding in findings):
        raise SystemExit(1)


def _look(ports: Sequence[int], engine: str | None) -> list[Finding]:
    import asyncio
    import os

    from fairlead.doctor.facts import DaemonFacts, daemon_facts, host_facts
    from fairlead.doctor.judge import judge_daemon, judge_host
    from fairlead.settings import Settings

    home = Settings.from_environ(os.environ).home
    findings = list(judge_host(host_facts(home, ports)))
    if engine != "process":
        facts: DaemonFacts = asyncio.run(daemon_facts(os.environ))
        findings += judge_daemon(facts)
    return findings
