"""`include`."""

from __future__ import annotations

import pytest

from .loading import problems, tree

INNER = "services: {db: {image: 'db:${TAG:-none}', volumes: ['data:/d', './x:/x']}}\nvolumes: {data: {}}\n"


@pytest.mark.parametrize(
    ("entry", "tag", "folder"),
    [
        ("sub/c.yaml", "sub", "/project/sub"),
        ("{path: sub/c.yaml}", "sub", "/project/sub"),
        ("{path: sub/c.yaml, project_directory: .}", "top", "/project"),
        ("{path: sub/c.yaml, env_file: other.env}", "other", "/project/sub"),
        ("{path: sub/c.yaml, project_directory: deep}", "none", "/project/deep"),
    ],
)
def test_folder_and_variables_of_the_included_project(entry: str, tag: str, folder: str) -> None:
    files = {"sub/c.yaml": INNER, "sub/.env": "TAG=sub\n", "other.env": "TAG=other\n", "deep/x": "", ".env": ""}
    if tag == "top":
        files[".env"] = "TAG=top\n"
    found = tree(f"include: [{entry}]\nservices: {{a: {{image: x, depends_on: [db]}}}}", files)
    assert found["services"]["db"]["image"] == f"db:{tag}"
    assert found["services"]["db"]["volumes"][1]["source"] == f"{folder}/x"
    assert found["volumes"] == {"data": {"name": "p_data"}}


def test_several_paths_override_each_other() -> None:
    files = {"sub/c.yaml": INNER, "over.yaml": "services: {db: {user: u}}"}
    found = tree("include: [{path: [sub/c.yaml, over.yaml]}]\nservices: {a: {image: x}}", files)
    assert found["services"]["db"]["user"] == "u"


def test_nested() -> None:
    files = {"sub/c.yaml": "include: [deeper/d.yaml]\n", "sub/deeper/d.yaml": "services: {d: {build: .}}"}
    found = tree("include: [sub/c.yaml]\nservices: {a: {image: x}}", files)
    assert found["services"]["d"]["build"]["context"] == "/project/sub/deeper"


def test_the_same_name_twice_must_be_equal() -> None:
    (found,) = problems("include: [sub/c.yaml]\nservices: {db: {image: other}}", {"sub/c.yaml": INNER})
    assert found.key == "services.db"
    assert "sub/c.yaml:1" in found.message


def test_a_circle() -> None:
    files = {"sub/c.yaml": "include: [../compose.yaml]\nservices: {db: {image: x}}"}
    assert "in a circle" in problems("include: [sub/c.yaml]\nservices: {a: {image: x}}", files)[0].message


@pytest.mark.parametrize("path", ["https://example.org/c.yaml", "git@github.com:a/b"])
def test_nothing_is_fetched(path: str) -> None:
    found = problems(f"include: ['{path}']\nservices: {{a: {{image: x}}}}")
    assert "remote" in found[0].message


def test_what_is_not_there() -> None:
    assert "cannot read" in problems("include: [no.yaml]\nservices: {a: {image: x}}")[0].message
    assert "must be a list" in problems("include: no.yaml\nservices: {a: {image: x}}")[0].message
