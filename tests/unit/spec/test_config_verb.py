"""``fairlead config``: its flags, and the shape of what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from fairlead.cli.verbs.config import command
from fairlead.errors import NotFoundError, SpecError

TEXT = """
name: shop
x-note: {n: 1}
services:
  web: {image: "web:${TAG:-1}", command: [echo, "$$HOME"], volumes: ["data:/d"], depends_on: [api], x-own: 1}
  api: {build: ./api, profiles: [full], environment: {A: "${A?}", B: "${B:+x}"}, x-fairlead: {route: {host: h}}}
volumes: {data: {}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "compose.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    for name in ("TAG", "B", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("A", "1")

    def invoke(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(command, list(arguments), catch_exceptions=False, **options)

    return invoke


FULL = ("--profile", "full")


def test_json_has_the_shape_that_compose_prints(run: Any) -> None:
    shown = json.loads(run(*FULL, "--format", "json").stdout)
    assert list(shown) == ["name", "services", "networks", "volumes", "x-note"]
    assert shown["services"]["web"]["command"] == ["echo", "$$HOME"]
    assert "x-own" not in shown["services"]["web"]
    assert shown["services"]["api"]["x-fairlead"] == {"route": {"host": "h"}}
    assert run(*FULL, "--json").stdout == run(*FULL, "--format", "json").stdout


def test_yaml_is_the_default_and_reads_back(run: Any) -> None:
    shown = yaml.safe_load(run(*FULL).stdout)
    assert shown["name"] == "shop"
    assert shown["services"]["web"]["x-own"] == 1
    assert shown["services"]["web"]["image"] == "web:1"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (("--services",), ["api", "web"]),
        (("--volumes",), ["data"]),
        (("--profiles",), ["full"]),
        (("--images",), ["shop-api", "web:1"]),
        (("--services", "-p", "other"), ["api", "web"]),
    ],
)
def test_lists(run: Any, arguments: tuple[str, ...], lines: list[str]) -> None:
    assert run(*FULL, *arguments).stdout.splitlines() == lines


def test_hashes_change_with_what_changes_a_container(run: Any) -> None:
    first = run(*FULL, "--hash", "*").stdout.splitlines()
    assert [line.split()[0] for line in first] == ["api", "web"]
    assert run(*FULL, "--hash", "web").stdout.splitlines() == first[1:]
    assert run(*FULL, "--hash", "web", env={"TAG": "2"}).stdout.splitlines() != first[1:]
    with pytest.raises(NotFoundError, match="no service 'wob'"):
        run(*FULL, "--hash", "wob")


def test_without_interpolation_and_the_list_of_variables(run: Any) -> None:
    shown = json.loads(run("--no-interpolate", "--json").stdout)
    assert shown["services"]["web"]["image"] == "web:${TAG:-1}"
    rows = [line.split() for line in run("--variables").stdout.splitlines()]
    assert rows == [
        ["NAME", "REQUIRED", "DEFAULT", "VALUE", "ALTERNATE", "VALUE"],
        ["A", "true"],
        ["B", "false", "x"],
        ["TAG", "false", "1"],
    ]
    assert {row["name"] for row in json.loads(run("--variables", "--json").stdout)} == {"A", "B", "TAG"}


def test_yaml_leaves_out_what_is_null_or_empty_in_json(run: Any) -> None:
    shown = yaml.safe_load(run(*FULL).stdout)
    assert "entrypoint" not in shown["services"]["web"]
    assert shown["networks"] == {"default": {"name": "shop_default"}}


def test_the_values_of_secrets_and_configs_are_never_printed(run: Any) -> None:
    text = """
    services: {s: {image: x, secrets: [k], configs: [c]}}
    secrets: {k: {environment: KEY}}
    configs: {c: {environment: KEY}}
    """
    for flags in (("--json",), (), ("--no-interpolate",)):
        result = run("-f", "-", *flags, input=text, env={"KEY": "hunter2"})
        assert result.exit_code == 0
        assert "hunter2" not in result.output


def test_quiet_stdin_and_named_services(run: Any) -> None:
    assert run(*FULL, "-q").stdout == ""
    assert run("-f", "-", "--services", input="services: {s: {image: x}}").stdout == "s\n"
    assert list(json.loads(run("--json", "api").stdout)["services"]) == ["api"]


def test_problems_are_raised_for_the_main_command_to_print(run: Any) -> None:
    with pytest.raises(SpecError, match=r"compose\.yaml"):
        run()  # web needs api, whose profile is not selected
    with pytest.raises(SpecError, match=r"\.env\.nope"):
        run("--env-file", ".env.nope")


def test_warnings_go_to_stderr(run: Any) -> None:
    result = run("-f", "-", "-q", input="version: '3'\nservices: {s: {image: x$NOPE}}")
    assert "obsolete" in result.stderr
    assert '"NOPE" is not set' in result.stderr
