"""YAML as Compose reads it."""

from __future__ import annotations

import math

import pytest

from fairlead.spec.report import Report
from fairlead.spec.tree import Map, Timestamp
from fairlead.spec.yaml_reader import MAX_BYTES, MAX_DEPTH, YamlError, read_documents, resolve_plain


def read(text: str | bytes) -> tuple[Map, Report]:
    report = Report()
    data = text.encode() if isinstance(text, str) else text
    return read_documents(data, "f.yaml", report)[0].root, report


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("1:30:00", "1:30:00"),
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("0755", 493),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("089", 89.0),
        ("1_000", 1000),
        ("+5", 5),
        ("-0", 0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("-", "-"),
        ("18446744073709551615", 2**64 - 1),
        ("99999999999999999999", 1e20),
        ("2020-1-1", Timestamp("2020-01-01T00:00:00Z")),
        ("2020-13-01", "2020-13-01"),
        ("2020-01-01 10:00:00", Timestamp("2020-01-01T10:00:00Z")),
        ("2020-01-01T10:00:00", "2020-01-01T10:00:00"),
    ],
)
def test_a_plain_scalar_resolves_by_the_rules_of_compose(text: str, value: object) -> None:
    found = resolve_plain(text)
    assert found == value
    assert type(found) is type(value)


def test_special_floats() -> None:
    assert math.isnan(resolve_plain(".nan"))
    assert resolve_plain("-.Inf") == -math.inf


def test_a_run_of_digits_without_end_is_no_integer() -> None:
    assert resolve_plain("9" * 5000) == math.inf


def test_quotes_and_tags_decide_the_type() -> None:
    root, _ = read('{a: "1", b: !!str 1, c: !!int "1", d: !foo 1, e: !!float 1, f: !!binary aGk=}')
    assert dict(root) == {"a": "1", "b": "1", "c": 1, "d": "1", "e": 1.0, "f": "hi"}


def test_a_tag_that_the_text_does_not_fit_is_an_error() -> None:
    with pytest.raises(YamlError, match="'x' is not a !!int"):
        read("a: !!int x")


def test_crlf_reads_like_lf() -> None:
    root, _ = read("a: 1\r\nb: |\r\n  x\r\n  y\r\n")
    assert dict(root) == {"a": 1, "b": "x\ny\n"}


def test_every_key_and_item_knows_its_line_and_column() -> None:
    root, _ = read("a:\n  - x\n  -  {b: 1}\n")
    assert root.mark("a") == ("f.yaml", 1, 1)
    assert root["a"].mark(0) == ("f.yaml", 2, 5)
    assert root["a"][1].mark("b") == ("f.yaml", 3, 7)


def test_an_alias_is_a_copy() -> None:
    root, _ = read("a: &x {k: [1]}\nb: *x\n")
    root["b"]["k"].add(2)
    assert root["a"] == {"k": [1]}


def test_an_anchor_may_be_defined_anew() -> None:
    root, _ = read("a: &x 1\nb: &x 2\nc: *x\n")
    assert root["c"] == 2


def test_merge_keys_lose_against_own_keys_and_the_first_of_a_list_wins() -> None:
    root, _ = read("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {c: 3, <<: [*x, *y]}\n")
    assert dict(root["z"]) == {"c": 3, "a": 1, "b": 1}


def test_the_merge_tag_merges_too_and_quotes_do_not() -> None:
    root, _ = read('x: &x {a: 1}\ny:\n  !!merge <<: *x\nz: {"<<": *x}\n')
    assert root["y"] == {"a": 1}
    assert root["z"] == {"<<": {"a": 1}}


def test_merging_a_scalar_is_a_problem() -> None:
    _, report = read("z: {<<: 1}\n")
    assert "merges a mapping" in report.problems[0].message


def test_a_duplicate_key_is_a_problem_with_both_lines() -> None:
    _, report = read("a: 1\nb: 2\na: 3\n")
    (problem,) = report.problems
    assert (problem.line, problem.key) == (3, "a")
    assert "line 1" in problem.message


@pytest.mark.parametrize("key", ["1", "true", "null", "~", "1.5", "2020-01-01", "[a]"])
def test_a_key_that_is_no_string_is_a_problem(key: str) -> None:
    _, report = read(f"x:\n  {key}: 1\n")
    assert "is not a string" in report.problems[0].message
    assert report.problems[0].line == 2


def test_reset_drops_the_node_and_remembers_the_path() -> None:
    report = Report()
    (document,) = read_documents(b"s: {a: !reset [1], b: !override {c: 1}, d: [!reset 1, 2]}", "f", report)
    assert document.root == {"s": {"b": {"c": 1}, "d": [2]}}
    assert document.resets == (("s", "a"), ("s", "b"), ("s", "d", "0"))


def test_several_documents() -> None:
    assert [document.root for document in read_documents(b"a: 1\n---\nb: 2\n", "f", Report())] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1\n", 2, "expected"),
        ("a:\n\t- x\n", 2, "token"),
        ("a: b: c\n", 1, "mapping values"),
        ("a: *nope\n", 1, "unknown anchor 'nope'"),
        ("a: &a [*a]\n", 1, "inside its own anchor"),
        ('a: "x\n', 2, "unexpected end"),
    ],
)
def test_broken_yaml_says_where(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlError) as caught:
        read(text)
    assert words in caught.value.message
    assert caught.value.at[1] == line


@pytest.mark.parametrize("data", [b"a: \xff\xfe\n", b"a: \x00\n", b"\xff"])
def test_bytes_that_are_no_text_are_an_error(data: bytes) -> None:
    with pytest.raises(YamlError):
        read(data)


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * (MAX_DEPTH + 5),
        "a: " + "{a: " * 50_000,
        "- " * 50_000,
        "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
        "x0: &a0 {k: v}\n"
        + "".join(f"x{n}: &a{n} {{z{n}: *a{n - 1}, <<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)),
    ],
    ids=["lists", "mappings", "dashes", "alias bomb", "merge bomb"],
)
def test_a_bomb_ends_in_a_clear_error(text: str) -> None:
    with pytest.raises(YamlError, match=r"nested deeper than|aliases are expanded"):
        read(text)


def test_a_huge_file_is_not_even_parsed() -> None:
    with pytest.raises(YamlError, match="at most 4 MiB"):
        read(b"[" * (MAX_BYTES + 1))
