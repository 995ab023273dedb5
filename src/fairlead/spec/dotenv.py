"""Read ``.env`` files as Compose does: ``KEY=value`` lines, quotes, ``export``, comments, variables, no commands.

Called for the project's ``.env``, for ``--env-file``, for `env_file` and for `label_file`. Values are only ever
substituted, never run. A bare ``KEY`` takes the value that the caller's lookup has for it, if any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairlead.spec.template import Lookup, Missing, RequiredError, TemplateError, substitute

_BLANK = " \t\v\f\r\x85\xa0"
_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0\d{0,3})')
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_EXPORT = re.compile(r"export[ \t\n\f\r]+")


class DotenvError(Exception):
    """One line of the file is wrong."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


def parse_dotenv(text: str, lookup: Lookup, missing: Missing) -> dict[str, str]:
    """The variables of ``text``. ``lookup`` has priority over earlier lines of the same file."""
    found: dict[str, str] = {}

    def known(name: str) -> str | None:
        value = lookup(name)
        return found.get(name) if value is None else value

    for line, key, value, quote in _Statements(text.removeprefix("\ufeff")):
        if value is None:
            inherited = lookup(key)
            if inherited is not None:
                found[key] = inherited
            continue
        try:
            if quote == '"':
                found[key] = substitute(_unescape(value), known, missing)
            else:
                found[key] = value if quote else substitute(value, known, missing)
        except TemplateError as error:
            raise DotenvError(line, f"{key}: {error}") from None
        except RequiredError as error:
            raise DotenvError(line, f"{key}: {error.name} is required: {error.reason}") from None
    return found


def parse_raw(text: str) -> dict[str, str]:
    """`format: raw`: what stands behind the first ``=`` of a line is the value, quotes and dollars included."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        stripped = line.lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        key, separator, value = stripped.partition("=")
        if not key or " " in key.strip():
            raise DotenvError(number, f"{key!r} is not a variable name")
        if separator:
            found[key.strip()] = value
    return found


class _Statements:
    """Iterate over ``(line, key, value or None, quote)``."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._end = text, 0, len(text)

    def __iter__(self) -> Iterator[tuple[int, str, str | None, str]]:
        while self._skip_to_statement():
            line = self._line()
            key, inherited = self._key()
            if inherited:
                yield line, key, None, ""
                continue
            quote = self._text[self._at : self._at + 1]
            if quote in ("'", '"') and quote:
                yield line, key, self._quoted(quote), quote
            else:
                yield line, key, self._unquoted(), ""

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _skip_to_statement(self) -> bool:
        while self._at < self._end:
            character = self._text[self._at]
            if character.isspace() or character in _BLANK:
                self._at += 1
            elif character == "#":
                newline = self._text.find("\n", self._at)
                self._at = self._end if newline < 0 else newline
            else:
                return True
        return False

    def _key(self) -> tuple[str, bool]:
        if exported := _EXPORT.match(self._text, self._at):
            self._at = exported.end()
        start = index = self._at
        while index < self._end:
            character = self._text[index]
            if character in "=:\n":
                break
            if not (character in _BLANK or character in "_.-[]" or character.isalpha() or character.isnumeric()):
                raise DotenvError(self._line(), f"unexpected character {character!r} in a variable name")
            index += 1
        else:
            # without '=' and newline, the last word of the file names nothing
            self._at = self._end if index > start else self._at
            return self._checked_key(self._text[start:index]), True
        inherited = self._text[index] == "\n"
        key = self._checked_key(self._text[start:index])
        self._at = index + 1
        while not inherited and self._at < self._end and self._text[self._at] in _BLANK:
            self._at += 1
        return key, inherited

    def _checked_key(self, raw: str) -> str:
        key = raw.rstrip()
        if " " in key:
            raise DotenvError(self._line(), f"the variable name {key!r} contains a space")
        return key

    def _unquoted(self) -> str:
        newline = self._text.find("\n", self._at)
        end = self._end if newline < 0 else newline
        value = self._text[self._at : end].partition(" #")[0].rstrip()
        self._at = min(end + 1, self._end)
        return value

    def _quoted(self, quote: str) -> str:
        characters: list[str] = []
        index, escaped = self._at + 1, False
        while index < self._end:
            character = self._text[index]
            index += 1
            if character == quote and not escaped:
                self._at = index
                return "".join(characters)
            if character == "\\" and not escaped:
                escaped = True
                continue
            if escaped and character != quote:
                characters.append("\\")
            escaped = False
            characters.append(character)
        raise DotenvError(self._line(), "the quote of this value is never closed")


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_escape, text) if "\\" in text else text


def _escape(match: re.Match[str]) -> str:
    sequence = match[0]
    if sequence == r"\$":
        return "$$"
    if sequence[1] != "0":
        return _ESCAPED.get(sequence[1], sequence)
    digits = sequence[2:]
    if len(digits) != 3 or any(digit in "89" for digit in digits) or int(digits, 8) > 255:
        return sequence
    return chr(int(digits, 8))
