"""The text of YAML and of hashes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from fairlead.spec.render import service_hash, to_json, to_yaml
from fairlead.spec.report import Report
from fairlead.spec.tree import plain
from fairlead.spec.yaml_reader import read_documents

VALUES: list[Any] = [
    "", " ", "a b", "yes", "No", "null", "~", "true", "1", "0755", "1e3", "22:22", "1.5", "2020-01-01", "-", "- a",
    "a: b",
    "a:",
        "a #b", "#a", "'q'", '"q"', "*x", "&x", "!x", "|", ">", "%", "@", "`", "{a}", "[a]", "a,b", "\\",
    "é", "\u2028", "\x07",
    "line\nline", "line\n", "line\n\n", "\nline", "  x\ny", "tab\tx", "a\r\nb", "<<", "=", "?", "? x", "a\n  b\nc",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_any_text_reads_back_as_itself(value: str) -> None:
    tree = {"k": value, value or "e": [value, {"n": value}, [value]], "deep": {"er": {"s": value}}}
    text = to_yaml(tree, escape_dollar=False)
    assert plain(read_documents(text.encode(), "f", Report())[0].root) == tree
    assert yaml.safe_load(text) == tree


def test_style() -> None:
    tree = {"a": {"b": ["x", {"c": 1, "d": None}], "e": {}, "f": []}, "g": "$X"}
    assert to_yaml(tree) == "a:\n  b:\n    - x\n    - c: 1\n      d: null\n  e: {}\n  f: []\ng: $$X\n"
    assert to_json({"a": "$é"}) == '{\n  "a": "$$é"\n}'


def test_a_hash_leaves_out_what_changes_no_container() -> None:
    service = {"command": None, "image": "x", "deploy": {"replicas": 1, "resources": {}}}
    other = service | {"build": {}, "pull_policy": "always", "scale": 3, "deploy": {"replicas": 2, "resources": {}}}
    assert service_hash(service) == service_hash(other)
    assert service_hash(service) != service_hash(service | {"image": "y"})
