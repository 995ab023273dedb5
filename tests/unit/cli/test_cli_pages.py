"""The pages of docs/commands and docs/exit-codes.md say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from fairlead import errors
from fairlead.cli.failure import BROKEN_PIPE, INTERRUPTED
from fairlead.cli.main import _HELP, command
from fairlead.controller import controls

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("verb", [verb for verb in _HELP if verb != "config"])
def test_every_option_is_on_the_page_of_its_command(verb: str) -> None:
    page = (DOCS / "commands" / f"{verb}.md").read_text()
    assert page.startswith(f"# fairlead {verb}\n")
    found = command.get_command(click.Context(command), verb)
    assert found is not None
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert max(parameter.opts, key=len) in page
    if isinstance(found, click.Group):
        assert all(name in page for name in found.commands)


@pytest.mark.parametrize(
    ("page", "kinds"),
    [
        ("README", (controls.Operation,)),
        ("ps", (controls.ReplicaRow,)),
        ("top", (controls.ProcessRow,)),
        ("status", (controls.ProjectStatus, controls.ServiceRow)),
        ("history", (controls.ReleaseRow,)),
        ("controller", (controls.ControllerStatus,)),
    ],
)
def test_every_field_of_the_json_is_on_its_page(page: str, kinds: tuple[type, ...]) -> None:
    text = (DOCS / "commands" / f"{page}.md").read_text()
    for kind in kinds:
        assert [name for name in kind.__annotations__ if f"`{name}`" not in text] == []


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [*(DOCS / "commands").glob("*.md"), DOCS / "exit-codes.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert target == "config.md" or (page.parent / target).exists(), (page.name, target)


def test_every_exit_code_is_documented() -> None:
    rows = dict(re.findall(r"^\| (\d+) \|(?: (\w+))? \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE))
    kinds = [errors.FairleadError, *errors.FairleadError.__subclasses__()]
    expected = {str(kind.exit_code): kind.__name__ for kind in kinds if kind.__module__ == errors.__name__}
    assert rows == expected | {"0": "", str(INTERRUPTED): "", str(BROKEN_PIPE): ""}
