"""The `fairlead` command: its verbs, each imported only when it is used, and what a failure looks like.

Called by the console script. ``fairlead --help`` imports click and this module alone.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from fairlead import __version__
from fairlead.cli import failure

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Change what runs",
        (
            ("up", "Release the Compose file: start it, or bring it up to date"),
            ("deploy", "Release one service with another image or environment"),
            ("rollback", "Release what an earlier release had"),
            ("scale", "Set how many replicas a service has"),
            ("restart", "Replace the replicas of services by new ones"),
            ("pause", "Hold a release where it is"),
            ("resume", "Let a held release go on"),
            ("down", "Stop a project and remove its replicas"),
        ),
    ),
    (
        "See what runs",
        (
            ("ps", "List the replicas"),
            ("status", "Show projects, services and the release under way"),
            ("history", "List the releases of a project"),
            ("stats", "Show what the replicas use"),
            ("top", "List the processes of the replicas"),
            ("logs", "Show what the replicas write"),
            ("events", "Show what happened"),
            ("exec", "Run a command where a replica runs"),
        ),
    ),
    (
        "Look before",
        (
            ("plan", "Show what `up` would do, and what the engine makes of the file"),
            ("config", "Print the project as Fairlead reads it"),
            ("doctor", "Look for what would keep it from working"),
        ),
    ),
    (
        "Fairlead itself",
        (
            ("controller", "Run, inspect or stop the controller"),
            ("completion", "Print the completion script of a shell"),
        ),
    ),
)

_OF_COMPOSE = {
    "attach": "`fairlead logs -f` shows what the replicas write",
    "build": "`fairlead up --engine docker` builds what has a `build`",
    "create": "`fairlead up -d` creates and starts",
    "images": "`fairlead config --images` lists them",
    "kill": "`fairlead restart` replaces replicas, `fairlead down` ends the project",
    "ls": "`fairlead status --all` lists the projects",
    "port": "`fairlead status` shows the published ports",
    "pull": "`fairlead up` pulls what is missing",
    "rm": "`fairlead scale SERVICE=0` ends a service, `fairlead down` the project",
    "run": "`fairlead exec` runs a command where a replica runs",
    "start": "`fairlead up -d` starts the project",
    "stop": "`fairlead scale SERVICE=0` ends a service, `fairlead down` the project",
    "version": "`fairlead --version` says it",
    "wait": "`fairlead up -d` returns when the release has ended",
    "watch": "`fairlead up -d` releases what has changed",
}
"""What there is for the verbs of Docker Compose that Fairlead does not have."""

_HELP = {name: text for _, verbs in SECTIONS for name, text in verbs}


class Verbs(click.Group):
    """The group of all verbs; ``fairlead.cli.verbs.NAME:command`` is loaded when NAME is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HELP)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HELP:
            return None
        command = importlib.import_module(f"fairlead.cli.verbs.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # The base class would import every verb for its line of help.
        verbs = [CompletionItem(name, help=text) for name, text in _HELP.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _HELP and not args[0].startswith("-"):
            if args[0] in _OF_COMPOSE:
                raise failure.usage(f"there is no command `{args[0]}`", _OF_COMPOSE[args[0]])
            close = " or ".join(f"`fairlead {name}`" for name in difflib.get_close_matches(args[0], _HELP, n=2))
            meant = f"did you mean {close}?" if close else "`fairlead --help` lists the commands"
            raise failure.usage(f"there is no command `{args[0]}`", meant)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _HELP))
        for title, verbs in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in verbs])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _swallow_output()
            raise click.exceptions.Exit(failure.BROKEN_PIPE) from None
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run one command line and exit: every failure ends as a line for a person and an exit code."""
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except Exception as error:
            code = failure.report(error)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run a Compose application in production: a change goes through, and nobody's request is cut.",
    epilog="`fairlead COMMAND --help` tells more. Documentation: docs/commands.",
)
@click.version_option(__version__, "-V", "--version", prog_name="fairlead", message="%(prog)s %(version)s")
def command() -> None:
    """All verbs are below; the group itself does nothing."""


def run() -> NoReturn:
    """What the console script calls."""
    command.main(prog_name="fairlead")


def _swallow_output() -> None:
    """Send what is left to nowhere, so that the interpreter's own flush at the end does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
