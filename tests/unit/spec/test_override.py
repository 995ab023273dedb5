"""How a further file merges over the ones before it."""

from __future__ import annotations

from typing import Any

import pytest

from .loading import problems, tree


def merged(base: str, over: str, rest: str = "") -> dict[str, Any]:
    files = {"compose.override.yaml": f"services: {{a: {{{over}}}}}"}
    return tree(f"services: {{a: {{image: x, {base}}}, b: {{image: y}}, c: {{image: z}}}}\n{rest}", files)["services"][
        "a"
    ]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("key", "base", "over", "result"),
    [
        ("image", "user: u", "image: y", "y"),
        ("command", "command: [a, b]", "command: [c]", ["c"]),
        ("entrypoint", "entrypoint: a", "entrypoint: b c", ["b", "c"]),
        ("environment", "environment: {A: 1, B: 1}", "environment: [B=2, C=3]", {"A": "1", "B": "2", "C": "3"}),
        ("labels", "labels: [a=1]", "labels: {a: 2, b: 3}", {"a": "2", "b": "3"}),
        ("dns", "dns: 1.1.1.1", "dns: [2.2.2.2, 1.1.1.1]", ["1.1.1.1", "2.2.2.2"]),
        ("cap_add", "cap_add: [A]", "cap_add: [A, B]", ["A", "B"]),
        ("expose", "expose: [80]", "expose: ['80', '81']", ["80", "81"]),
        ("extra_hosts", "extra_hosts: [h=1.1.1.1]", "extra_hosts: {h: 2.2.2.2}", ["h=1.1.1.1", "h=2.2.2.2"]),
        ("logging", "logging: {driver: a, options: {x: 1}}", "logging: {driver: b}", {"driver": "b"}),
        ("logging", "logging: {driver: a, options: {x: 1}}", "logging: {options: {y: 2}}",
         {"driver": "a", "options": {"x": "1", "y": "2"}}),
        ("ulimits", "ulimits: {nofile: {soft: 1, hard: 2}}", "ulimits: {nofile: 5}", {"nofile": 5}),
        ("build", "build: ./a", "build: {args: [A=1]}",
         {"context": "/project/a", "dockerfile": "Dockerfile", "args": {"A": "1"}}),
        ("profiles", "profiles: []", "tty: true", None),
        ("security_opt", "security_opt: [a]", "security_opt: [b]", ["a", "b"]),
    ],
)  # fmt: skip
def test_each_attribute_has_its_rule(key: str, base: str, over: str, result: Any) -> None:
    assert merged(base, over).get(key) == result


def test_healthcheck_keeps_what_is_not_said_and_replaces_the_test() -> None:
    found = merged("healthcheck: {test: [CMD, a], interval: 1s}", "healthcheck: {test: [CMD, b]}")["healthcheck"]
    assert found == {"test": ["CMD", "b"], "interval": "1s"}


def test_depends_on_and_networks_merge_their_two_forms() -> None:
    found = merged("depends_on: [b]", "depends_on: {c: {condition: service_healthy}}")
    assert sorted(found["depends_on"]) == ["b", "c"]
    found = merged("networks: [n]", "networks: {n: {aliases: [x]}, m: }", "networks: {n: , m: }")
    assert found["networks"] == {"n": {"aliases": ["x"]}, "m": None}


def test_ports_and_volumes_merge_by_identity() -> None:
    found = merged('ports: ["80:80"]', 'ports: ["80:80", "81:80"]')["ports"]
    assert [port["published"] for port in found] == ["80", "81"]
    found = merged("volumes: ['/a:/x', '/b:/y']", "volumes: ['/c:/x']")["volumes"]
    assert [mount["source"] for mount in found] == ["/c", "/b"]


def test_null_changes_nothing_reset_removes_and_override_replaces() -> None:
    found = merged("user: u, ports: ['80'], labels: [a=1]", "user: , ports: !reset null, labels: !override [b=2]")
    assert (found["user"], found.get("ports"), found["labels"]) == ("u", None, {"b": "2"})


def test_ipam_pools_of_one_subnet_merge() -> None:
    text = (
        "services: {a: {image: x}}\nnetworks: {default: {ipam: {config: [{subnet: 10.0.0.0/8}, {subnet: 11.0.0.0/8}]}}}"
    )
    files = {
        "compose.override.yaml": "networks: {default: {ipam: {config: [{subnet: 10.0.0.0/8, gateway: 10.0.0.1}]}}}"
    }
    found = tree(text, files)["networks"]["default"]["ipam"]["config"]
    assert {"subnet": "10.0.0.0/8", "gateway": "10.0.0.1"} in found


def test_kinds_must_agree() -> None:
    files = {"compose.override.yaml": "services: {a: {cap_add: x}}"}
    (found,) = problems("services: {a: {image: x, cap_add: [y]}}", files)
    assert "cannot override a list" in found.message
    assert found.file.endswith("compose.override.yaml")


def test_extensions_are_replaced_whole() -> None:
    found = tree("x-a: {b: 1, c: 2}\nservices: {a: {image: x}}", {"compose.override.yaml": "x-a: {c: 3}"})
    assert found["x-a"] == {"c": 3}


def test_documents_of_one_file_merge_like_files() -> None:
    assert tree("services: {a: {image: x}}\n---\nservices: {a: {user: u}}")["services"]["a"]["user"] == "u"
