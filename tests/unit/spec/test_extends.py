"""`extends`."""

from __future__ import annotations

from .loading import problems, tree

BASE = """
services:
  web:
    image: base
    command: [run]
    environment: {A: base, B: base}
    ports: ["80:80"]
    volumes: [./here:/h]
    env_file: base.env
    labels: [l=base]
  low: {extends: web, user: root}
"""


def test_from_the_same_file() -> None:
    text = "services: {a: {extends: b, environment: [A=1]}, b: {image: x, environment: {A: 0, B: 0}, user: u}}"
    found = tree(text)["services"]["a"]
    assert (found["image"], found["user"], found["environment"]) == ("x", "u", {"A": "1", "B": "0"})
    assert "extends" not in found


def test_from_another_file_whose_paths_count_from_there() -> None:
    own = "command: [go], ports: [81], labels: {l: own}"
    text = f"services: {{a: {{extends: {{file: sub/base.yaml, service: web}}, {own}}}}}"
    found = tree(text, {"sub/base.yaml": BASE, "sub/base.env": "C=file\n"})["services"]["a"]
    assert found["command"] == ["go"]
    assert found["environment"] == {"A": "base", "B": "base", "C": "file"}
    assert [port["target"] for port in found["ports"]] == [80, 81]
    assert found["volumes"][0]["source"] == "/project/sub/here"
    assert found["labels"] == {"l": "own"}


def test_through_several_files() -> None:
    files = {
        "sub/base.yaml": "services: {x: {extends: {file: ../low.yaml, service: y}, user: u}}",
        "low.yaml": "services: {y: {extends: z, image: y}, z: {image: z, hostname: h}}",
    }
    found = tree("services: {a: {extends: {file: sub/base.yaml, service: x}}}", files)["services"]["a"]
    assert (found["image"], found["user"], found["hostname"]) == ("y", "u", "h")


def test_reset_takes_away_what_was_extended() -> None:
    own = "{extends: b, ports: !reset [], command: !override [c]}"
    text = f"services: {{a: {own}, b: {{image: x, ports: [80], command: [d]}}}}"
    found = tree(text)["services"]["a"]
    assert found["command"] == ["c"]
    assert "ports" not in found


def test_a_circle_and_what_is_not_there() -> None:
    (circle,) = problems("services: {a: {image: x, extends: b}, b: {extends: a}}")[:1]
    assert "in a circle" in circle.message
    (missing,) = problems("services: {a: {image: x, extends: wep}, web: {image: y}}")
    assert (missing.key, missing.fix) == ("services.a.extends", "did you mean 'web'?")
    (no_file,) = problems("services: {a: {image: x, extends: {file: no.yaml, service: b}}}")
    assert no_file.message == "cannot read the file: No such file or directory"


def test_a_chain_without_end_is_refused() -> None:
    chain = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(300))
    assert any("more than" in found.message for found in problems(f"services:\n{chain}  s300: {{image: x}}\n"))
