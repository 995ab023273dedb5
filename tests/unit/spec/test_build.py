"""`build`."""

from __future__ import annotations

import pytest

from .loading import problem, project, service


def test_one_string_is_the_context() -> None:
    assert service("build: ./app")["build"] == {"context": "/project/app", "dockerfile": "Dockerfile"}


@pytest.mark.parametrize(
    "context", ["https://github.com/a/b.git#main", "git@github.com:a/b", "github.com/a/b", "docker-image://x", "/abs/"]
)
def test_what_is_no_relative_path_stays(context: str) -> None:
    assert service(f"build: '{context}'")["build"]["context"] == context


def test_everything() -> None:
    attributes = """
    build:
      dockerfile_inline: FROM x
      args: [A=1, B, GONE]
      labels: {l: 1}
      additional_contexts: [other=./o, "svc=docker-image://y"]
      ssh: [default]
      cache_from: [a]
      no_cache: "true"
      shm_size: 1gb
      extra_hosts: ["h:1.2.3.4"]
      ulimits: {nofile: {soft: 1, hard: 2}}
      secrets: [s]
      platforms: [linux/amd64]
      provenance: false
    """
    found = service(attributes, "secrets: {s: {environment: HOME}}\n", environment={"B": "outer"})["build"]
    assert found == {
        "context": "/project",
        "dockerfile_inline": "FROM x",
        "args": {"A": "1", "B": "outer"},
        "ssh": ["default"],
        "labels": {"l": "1"},
        "cache_from": ["a"],
        "no_cache": True,
        "additional_contexts": {"other": "/project/o", "svc": "docker-image://y"},
        "extra_hosts": ["h=1.2.3.4"],
        "secrets": [{"source": "s"}],
        "shm_size": str(1 << 30),
        "ulimits": {"nofile": {"soft": 1, "hard": 2}},
        "platforms": ["linux/amd64"],
        "provenance": "false",
    }


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ("{dockerfile: D, dockerfile_inline: FROM x}", "exclude each other"),
        ("{additional_contexts: {o: service:nope}}", "'nope' is unknown"),
        ("{additional_contexts: {o: service:b}}", "'b' is not built"),
        ("{additional_contexts: [o]}", "has no '='"),
        ("{secrets: [nope]}", "the build secret 'nope' is not defined"),
        ("{contxt: .}", "unknown key 'contxt'"),
        ("{shm_size: big}", "is not a size"),
        ("{ssh: [key]}", "is no ssh key"),
    ],
)
def test_problems(build: str, words: str) -> None:
    assert words in problem(f"build: {build}").message


def test_the_platform_must_be_among_the_built_ones() -> None:
    assert "linux/arm64" in problem("platform: linux/arm64\nbuild: {platforms: [linux/amd64]}").message


def test_typed() -> None:
    build = project("services: {a: {build: {args: {A: 1}, shm_size: 1k, isolation: x}}}").services["a"].build
    assert build is not None
    assert (build.args, build.shm_size_bytes, build.extra) == ({"A": "1"}, 1024, {"isolation": "x"})
