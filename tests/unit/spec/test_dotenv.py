"""`.env` files."""

from __future__ import annotations

import pytest

from fairlead.spec.dotenv import DotenvError, parse_dotenv


def parse(text: str, **known: str) -> dict[str, str]:
    return parse_dotenv(text, known.get, lambda name: None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\nB = two \n", {"A": "1", "B": "two"}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# c\n\n  export A=1 # note\n", {"A": "1"}),
        ("A=a#b", {"A": "a#b"}),
        ("A=", {"A": ""}),
        ("A: yaml", {"A": "yaml"}),
        ("A='$X \\n # x'", {"A": "$X \\n # x"}),
        ("A='it\\'s'", {"A": "it's"}),
        ('A="x\\ty\\n\\"q\\""', {"A": 'x\ty\n"q"'}),
        ('A="two\nlines"\nB=1', {"A": "two\nlines", "B": "1"}),
        ('A="\\$X" ', {"A": "$X"}),
        ("A=1\nB=${A}-$A\nC=${NO:-d}", {"A": "1", "B": "1-1", "C": "d"}),
        ("A.b-c[0]=x", {"A.b-c[0]": "x"}),
        ("A=1\nA=2", {"A": "2"}),
    ],
)
def test_values(text: str, found: dict[str, str]) -> None:
    assert parse(text) == found


def test_what_is_known_wins_over_earlier_lines_in_substitution_only() -> None:
    assert parse("A=file\nB=$A", A="shell") == {"A": "file", "B": "shell"}


def test_a_bare_name_takes_the_known_value_or_nothing() -> None:
    assert parse("A\nB\n", A="shell") == {"A": "shell"}


def test_values_are_never_run(tmp_path: object) -> None:
    assert parse(f"A=$(touch {tmp_path}/x)\nB=`id`") == {"A": f"$(touch {tmp_path}/x)", "B": "`id`"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("A=1\nB!=2", 2, "unexpected character '!'"),
        ("A=1\n\nX Y=2", 3, "contains a space"),
        ('A="open\n\n', 1, "never closed"),
        ("A=${", 1, "not a variable"),
        ("A=${NO:?why}", 1, "NO is required: why"),
    ],
)
def test_a_broken_line_is_named(text: str, line: int, words: str) -> None:
    with pytest.raises(DotenvError) as caught:
        parse(text)
    assert words in caught.value.message
    assert caught.value.line == line
