"""Variables in text."""

from __future__ import annotations

import pytest

from fairlead.spec.template import Kept, RequiredError, TemplateError, substitute

VALUES = {"A": "a", "EMPTY": "", "_x9": "u", "DOLLAR": "$A"}


def run(text: str) -> tuple[str, list[str]]:
    missing: list[str] = []
    return substitute(text, VALUES.get, missing.append), missing


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("$A-${A}", "a-a"),
        ("$_x9", "u"),
        ("$$A $$${A}", "$A $a"),
        ("$1 $. 5$", "$1 $. 5$"),
        ("${A:-d} ${EMPTY:-d} ${NO:-d}", "a d d"),
        ("${A-d} ${EMPTY-d} ${NO-d}", "a  d"),
        ("${A:+x} ${EMPTY:+x} ${NO:+x}", "x  "),
        ("${A+x} ${EMPTY+x} ${NO+x}", "x x "),
        ("${A:?e} ${EMPTY?e}", "a "),
        ("${NO:-${NO2:-deep}}", "deep"),
        ("${NO:-${A}}-${A}", "a-a"),
        ("${NO:-$A$$}", "a$"),
        ("${NO:-a:-b}", "a:-b"),
        ("${NO-b:-c}", "b:-c"),
        ("${NO:-{}}", "{}"),
        ("${NO:-x}}", "x}"),
        ("${NO:-}", ""),
        ("$DOLLAR", "$A"),
    ],
)
def test_each_form(text: str, value: str) -> None:
    found, missing = run(text)
    assert found == value
    assert not missing


def test_a_variable_without_value_and_default_is_heard() -> None:
    assert run("[$NO] [${NO2}]") == ("[] []", ["NO", "NO2"])


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${1}", "${A!b}", "${ A}", "${A:-x\n}", "x ${-}"])
def test_what_is_no_variable_is_an_error(text: str) -> None:
    with pytest.raises(TemplateError):
        run(text)


@pytest.mark.parametrize(("text", "reason"), [("${NO:?why $A}", "why a"), ("${EMPTY:?}", ""), ("${NO?x}", "x")])
def test_a_required_variable_says_why(text: str, reason: str) -> None:
    with pytest.raises(RequiredError) as caught:
        run(text)
    assert caught.value.reason == reason


def test_a_kept_variable_stays_as_it_was_written() -> None:
    def lookup(name: str) -> str | None:
        return Kept(f"${{{name}}}") if name == "PORT" else None

    assert substitute("$PORT ${PORT} ${PORT:-9} $$PORT", lookup, lambda name: None) == "$PORT ${PORT} ${PORT} $PORT"


def test_long_lines_and_deep_nesting_end() -> None:
    assert run("${NO:-x}" * 20_000)[0] == "x" * 20_000
    with pytest.raises(TemplateError, match="nested deeper"):
        run("${NO:-" * 5000 + "}" * 5000)
    with pytest.raises(TemplateError, match="grows beyond"):
        substitute("$A" * 2000, {"A": "x" * 1000}.get, lambda name: None)
