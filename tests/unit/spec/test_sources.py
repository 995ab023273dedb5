"""Which files are found, the project's name, profiles and `version`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.errors import NotFoundError, SpecError
from fairlead.spec.load import load_tree

from .loading import Folder, project

ONE = "services: {a: {image: x}}"
TWO = "services: {b: {image: y}}"


def services(folder: Folder, **options: object) -> list[str]:
    return sorted(folder.tree(**options).canonical["services"])


def test_the_first_default_name_and_its_override(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {"docker-compose.yml": ONE, "docker-compose.override.yml": TWO})
    assert services(folder) == ["a", "b"]
    (tmp_path / "compose.yml").write_text("services: {c: {image: z}}")
    tree = folder.tree()
    assert "c" in tree.canonical["services"]
    assert "a" not in tree.canonical["services"]
    assert any("several files could be meant" in warning for warning in tree.warnings)


def test_a_folder_above_is_searched(tmp_path: Path) -> None:
    Folder(tmp_path, {"compose.yaml": ONE, "sub/deep/x": ""})
    tree = Folder(tmp_path / "sub/deep", {}).tree()
    assert tree.working_dir == str(tmp_path)


def test_named_files_in_their_order_and_stdin(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {"one.yaml": ONE, "two.yaml": "services: {a: {image: two}}"})
    assert folder.tree(files=("one.yaml", "two.yaml")).canonical["services"]["a"]["image"] == "two"
    assert services(folder, files=("one.yaml", "-"), stdin=TWO) == ["a", "b"]
    assert folder.tree(files=("-",), stdin=ONE).working_dir == str(tmp_path)


def test_compose_file_names_files_even_from_the_dotenv_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {"one.yaml": ONE, "two.yaml": TWO, ".env": "COMPOSE_FILE=one.yaml:two.yaml\n"})
    assert services(folder) == ["a", "b"]
    assert services(folder, environment={"COMPOSE_FILE": "one.yaml;two.yaml", "COMPOSE_PATH_SEPARATOR": ";"}) == [
        "a",
        "b",
    ]


def test_a_project_directory_moves_the_paths(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {"one.yaml": "services: {a: {build: .}}", "else/x": ""})
    tree = folder.tree(files=("one.yaml",), project_directory="else")
    assert tree.canonical["services"]["a"]["build"]["context"] == str(tmp_path / "else")


def test_no_file_a_missing_one_an_empty_one_and_no_mapping(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {"empty.yaml": "# nothing\n", "list.yaml": "- a\n"})
    for files, words in (
        ((), "no Compose file here"),
        (("nope.yaml",), "cannot read the file: No such file"),
        (("empty.yaml",), "the Compose file is empty|not a mapping"),
        (("list.yaml",), "not a mapping"),
    ):
        with pytest.raises(SpecError, match=words):
            folder.tree(files=files)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"project_name": "opt", "environment": {"COMPOSE_PROJECT_NAME": "env"}}, "opt"),
        ({"environment": {"COMPOSE_PROJECT_NAME": "env"}}, "env"),
        ({}, "infile-x"),
        ({"files": ("plain.yaml",)}, "my_app1"),
    ],
)
def test_the_name_and_its_precedence(tmp_path: Path, options: dict[str, object], name: str) -> None:
    text = "name: InFile-${N:-x}\nservices: {a: {image: '${COMPOSE_PROJECT_NAME}'}}"
    folder = Folder(tmp_path / "My_App.1", {}) if (tmp_path / "My_App.1").mkdir() is None else None
    assert folder is not None
    Folder(folder.path, {"compose.yaml": text, "plain.yaml": "services: {a: {image: '$COMPOSE_PROJECT_NAME'}}"})
    tree = folder.tree(**{"project_name": None} | options)
    assert (tree.name, tree.canonical["services"]["a"]["image"]) == (name, name)


def test_a_name_that_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is no project name"):
        Folder(tmp_path, {"compose.yaml": ONE}).tree(project_name="Bad Name")


def test_profiles_select(tmp_path: Path) -> None:
    text = "services: {a: {image: x}, b: {image: y, profiles: [p, q]}, c: {image: z, profiles: [r]}}"
    folder = Folder(tmp_path, {"compose.yaml": text})
    assert services(folder) == ["a"]
    assert services(folder, profiles=("q",)) == ["a", "b"]
    assert services(folder, profiles=("*",)) == ["a", "b", "c"]
    assert services(folder, environment={"COMPOSE_PROFILES": "p, r"}) == ["a", "b", "c"]
    assert sorted(load_tree(folder.options(), ["c"]).canonical["services"]) == ["c"]
    with pytest.raises(NotFoundError, match="no service 'd'"):
        load_tree(folder.options(), ["d"])


def test_named_services_bring_their_dependencies(tmp_path: Path) -> None:
    text = "services: {a: {image: x, depends_on: [b]}, b: {image: y}, c: {image: z}}"
    folder = Folder(tmp_path, {"compose.yaml": text})
    assert sorted(load_tree(folder.options(), ["a"]).canonical["services"]) == ["a", "b"]


def test_version_is_ignored_with_one_warning() -> None:
    loaded = project("version: '3'\nservices: {a: {image: x}}")
    assert sum("version" in warning for warning in loaded.warnings) == 1


def test_marks_lead_to_every_key() -> None:
    loaded = project("services:\n  a:\n    image: x\n    ports:\n      - 80\n")
    mark = loaded.marks["services.a.ports[0]"]
    assert (Path(mark.file).name, mark.line, mark.column) == ("compose.yaml", 5, 9)
    assert "services.a.image" in loaded.marks
    assert len(loaded.marks) > 5
