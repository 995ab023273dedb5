"""`fairlead completion`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "fish", "zsh")


@click.command(short_help="Print the completion script of a shell")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: fairlead completion bash > ~/.local/share/bash-completion/completions/fairlead
    zsh:  fairlead completion zsh > "${fpath[1]}/_fairlead"
    fish: fairlead completion fish > ~/.config/fish/completions/fairlead.fish
    """
    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(ctx.find_root().command, {}, "fairlead", "_FAIRLEAD_COMPLETE").source())
