"""`environment`, `env_file`, `labels`, `label_file`, `annotations`, `sysctls`."""

from __future__ import annotations

import pytest

from .loading import problem, problems, project, service, tree


def test_mapping_and_list_say_the_same() -> None:
    expected = {"A": "1", "B": "true", "C": None, "D": "", "E": "1e+06", "F": "0.5"}
    assert service("environment: {A: 1, B: true, C: , D: '', E: 1e6, F: 0.5}")["environment"] == expected
    assert service("environment: [A=1, B=true, C, D=, E=1e+06, F=0.5]")["environment"] == expected


def test_a_name_without_value_takes_it_from_outside() -> None:
    environment = {"A": "shell"}
    for form in ("environment: [A, B]", "environment: {A: , B: }"):
        assert service(form, environment=environment)["environment"] == {"A": "shell", "B": None}
    assert project("services: {a: {image: x, environment: [A, B]}}").services["a"].environment == {}


def test_env_files_lie_below_environment_and_later_ones_win() -> None:
    text = """
    services:
      a:
        image: x
        env_file: [one.env, {path: two.env}, {path: no.env, required: false}]
        environment: {A: own, C: }
    """
    files = {"one.env": "A=1\nB=1\nC=file\n", "two.env": "B=2\nD=$B-$X-${NO:-d}\n"}
    found = tree(text, files, environment={"X": "x", "C": "shell"})["services"]["a"]
    assert found["environment"] == {"A": "own", "B": "2", "C": "shell", "D": "1-x-d"}
    assert "env_file" not in found


def test_an_env_file_that_is_missing_or_broken() -> None:
    found = problem("env_file: no.env")
    assert found.message.endswith("/no.env does not exist")
    assert "required: false" in found.fix
    (broken,) = problems("services: {a: {image: x, env_file: e}}", {"e": "A=1\nB C=2\n"})
    assert (broken.line, broken.file.endswith("/e")) == (2, True)


def test_the_dotenv_file_fills_in_variables_below_the_shell() -> None:
    text = "services: {a: {image: 'x:${TAG}-${OTHER}'}}"
    found = tree(text, {".env": "TAG=file\nOTHER=${TAG}\n"}, environment={"TAG": "shell"})
    assert found["services"]["a"]["image"] == "x:shell-shell"


def test_env_files_of_the_command_line_replace_the_dotenv_file() -> None:
    text = "services: {a: {image: 'x:${A-}${B-}'}}"
    files = {".env": "A=env\n", "one": "A=1\nB=1\n", "two": "B=2\n"}
    assert tree(text, files, env_files=("one", "two"))["services"]["a"]["image"] == "x:12"
    (found,) = problems(text, files, env_files=("nope",))
    assert found.message == "cannot read the env file: No such file or directory"


def test_labels_and_label_files() -> None:
    text = "services: {a: {image: x, labels: {a: 1, b: }, label_file: l}}"
    assert tree(text, {"l": "a=file\nc=file\n"})["services"]["a"]["labels"] == {"a": "1", "b": "", "c": "file"}
    assert service("labels: [a=1, b]")["labels"] == {"a": "1", "b": ""}


@pytest.mark.parametrize("key", ["annotations", "sysctls"])
def test_other_pairs(key: str) -> None:
    assert service(f"{key}: {{net.x: 1024}}")[key] == {"net.x": "1024"}
    assert service(f"{key}: [net.x=1024]")[key] == {"net.x": "1024"}


def test_a_list_as_a_value_is_refused() -> None:
    found = problem("environment: {A: [1]}")
    assert found.key == "services.a.environment.A"
    assert "found a list" in found.message
