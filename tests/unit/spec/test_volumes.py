"""`volumes` and `tmpfs` of a service, and the top-level `volumes`."""

from __future__ import annotations

from typing import Any

import pytest

from .loading import HOME, problem, problems, project, service, tree

DATA = "volumes: {data: {}}\n"


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/anon", {"type": "volume", "target": "/anon", "volume": {}}),
        ("data:/d/", {"type": "volume", "source": "data", "target": "/d", "volume": {}}),
        ("data:/d:ro,nocopy", {"type": "volume", "source": "data", "target": "/d", "read_only": True,
                               "volume": {"nocopy": True}}),
        ("./x:/y", {"type": "bind", "source": "/project/x", "target": "/y", "bind": {"create_host_path": True}}),
        ("../x/:/y", {"type": "bind", "source": "/x", "target": "/y", "bind": {"create_host_path": True}}),
        ("~/x:/y", {"type": "bind", "source": f"{HOME}/x", "target": "/y", "bind": {"create_host_path": True}}),
        ("/a:/y:z,rshared", {"type": "bind", "source": "/a", "target": "/y",
                             "bind": {"create_host_path": True, "selinux": "z", "propagation": "rshared"}}),
        ("C:\\data:/y:ro", {"type": "bind", "source": "C:\\data", "target": "/y", "read_only": True,
                            "bind": {"create_host_path": True}}),
        ("c:/d:/y", {"type": "bind", "source": "c:/d", "target": "/y", "bind": {"create_host_path": True}}),
    ],
)  # fmt: skip
def test_short_forms(text: str, mount: dict[str, Any]) -> None:
    found = service(f"volumes: ['{text}']", DATA)["volumes"][0]
    if text.startswith("../"):
        found["source"] = "/x"  # beside the folder of the test
    assert found == mount


def test_long_forms() -> None:
    attributes = """
    volumes:
      - {type: bind, source: ./s, target: /t, read_only: "true", bind: {create_host_path: false, recursive: readonly}}
      - {type: tmpfs, target: /run, tmpfs: {size: 64m, mode: 0o755}}
      - {type: image, source: busybox, target: /i, image: {subpath: bin}}
    """
    assert service(attributes)["volumes"] == [
        {"type": "bind", "source": "/project/s", "target": "/t", "read_only": True, "bind": {"recursive": "readonly"}},
        {"type": "tmpfs", "target": "/run", "tmpfs": {"size": str(64 << 20), "mode": 0o755}},
        {"type": "image", "source": "busybox", "target": "/i", "image": {"subpath": "bin"}},
    ]


def test_the_last_mount_of_a_target_wins() -> None:
    assert [mount["source"] for mount in service("volumes: [data:/d, '/x:/d']", DATA)["volumes"]] == ["/x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("'data::b'", "nothing between two colons"),
        ("'data:/bb:cc:dd'", "too many colons"),
        ("''", "a mount is empty"),
        ("{type: bind, target: /x}", "needs a source"),
        ("{type: volume}", "has no target"),
        ("{target: /x}", "'type' is missing"),
        ("nope:/d", "the volume 'nope' is not defined"),
        ("{type: bind, source: /a, target: /b, bind: {selinux: x}}", "'x' is not one of z, Z"),
    ],
)
def test_what_is_no_mount(text: str, words: str) -> None:
    assert words in problem(f"volumes: [{text}]", DATA).message


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    assert problem("volumes: ['dat:/d']", DATA).fix == "did you mean 'data'?"


def test_the_top_level_names_and_drops_what_nobody_uses() -> None:
    text = """
    services: {a: {image: x, volumes: [data:/d, ext:/e, named:/n]}}
    volumes:
      data:
      ext: {external: true}
      named: {name: other, driver: local, driver_opts: {o: bind, device: ./d, n: 1}, labels: [k=v]}
      unused: {}
    """
    assert tree(text)["volumes"] == {
        "data": {"name": "p_data"},
        "ext": {"name": "ext", "external": True},
        "named": {
            "name": "other",
            "driver": "local",
            "driver_opts": {"device": "/project/d", "n": "1", "o": "bind"},
            "labels": {"k": "v"},
        },
    }


def test_an_external_volume_has_nothing_else() -> None:
    (found,) = problems("services: {a: {image: x}}\nvolumes: {v: {external: true, driver: local}}")
    assert "cannot have 'driver'" in found.message


def test_external_name_is_still_understood() -> None:
    text = "services: {a: {image: x, volumes: [vol:/d]}}\nvolumes: {vol: {external: {name: w}}}"
    assert tree(text)["volumes"] == {"vol": {"name": "w", "external": True}}


def test_tmpfs() -> None:
    assert service("tmpfs: /run")["tmpfs"] == ["/run"]
    assert service("tmpfs: [/run, '/tmp:size=64m']")["tmpfs"] == ["/run", "/tmp:size=64m"]
    mounts = project("services: {a: {image: x, tmpfs: ['/tmp:size=64m']}}").services["a"].volumes
    assert [(mount.type, mount.target, mount.options) for mount in mounts] == [
        ("tmpfs", "/tmp", {"options": "size=64m"})
    ]
