"""`command`, `entrypoint`, and what one string of them means."""

from __future__ import annotations

import pytest

from fairlead.spec.words import split_words

from .loading import problem, project, service


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc\n", ["a", "b", "c"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ('a"b"\'c\' ""', ["abc", ""]),
        (r"a\ b 'c\d' " + r'"e\"f"', ["a b", r"c\d", 'e"f']),
        ("echo $(date -u) `id -u`", ["echo", "$(date -u)", "`id -u`"]),
        ("run; rest", ["run"]),
        ("run 2>x", ["run"]),
        ("run && rest", ["run"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize("text", ["'a", 'a "b', "a\\", "echo (a)", "$(a"])
def test_words_that_do_not_end(text: str) -> None:
    with pytest.raises(ValueError, match=r"never closed|parenthesis"):
        split_words(text)


def test_null_empty_and_list() -> None:
    assert service("command: ")["command"] is None
    assert service("command: ''")["command"] == []
    assert service("entrypoint: []")["entrypoint"] == []
    assert service("command: [a, '']")["command"] == ["a", ""]
    typed = project("services: {a: {image: x, command: [], entrypoint: }}").services["a"]
    assert (typed.command, typed.entrypoint) == ((), None)


def test_a_broken_quote_is_a_problem_with_its_place() -> None:
    found = problem('command: "a \'b"')
    assert (found.line, found.key) == (4, "services.a.command")


def test_a_number_in_the_list_is_refused_with_the_fix() -> None:
    found = problem("command: [sleep, 5]")
    assert found.fix == 'write it in quotes: "5"'
