"""Split a command written as one string into its words, as Compose does.

Called when the canonical tree gets its types. Quotes and backslashes work as in a shell; nothing is expanded. An
unquoted ``;``, ``&``, ``|``, ``<`` or ``>`` ends the command, and parentheses are refused outside of quotes.
"""

from __future__ import annotations


def split_words(text: str) -> list[str]:
    """The words of ``text``; :class:`ValueError` when a quote is never closed."""
    splitter = _Splitter()
    for character in text:
        if not splitter.feed(character):
            break
    return splitter.finish(text)


class _Splitter:
    def __init__(self) -> None:
        self.words: list[str] = []
        self.word = ""
        self.started = False
        self.escaped = False
        self.quote = ""
        """The open quote: ``'``, ``"``, a backtick, or ``$`` inside ``$(…)``."""

    def feed(self, character: str) -> bool:
        """Take one character; false when the command ends here."""
        if self.escaped:
            self.escaped = False
            return self._take(character)
        if character == "\\" and self.quote != "'":
            self.escaped = True
            return True
        if character in " \t\r\n":
            return self._space(character)
        if character in "'\"":
            return self._quote(character)
        if character in "`()":
            return self._group(character)
        if character in ";&|<>" and not self.quote:
            if character == ">" and self.word[:1].isdigit():
                self.started = False
            return False
        return self._take(character)

    def finish(self, text: str) -> list[str]:
        if self.escaped or self.quote:
            raise ValueError(f"a quote in {text[:60]!r} is never closed")
        return [*self.words, self.word] if self.started else self.words

    def _take(self, character: str) -> bool:
        self.word += character
        self.started = True
        return True

    def _space(self, character: str) -> bool:
        if self.quote:
            self.word += character
        elif self.started:
            self.words.append(self.word)
            self.word, self.started = "", False
        return True

    def _quote(self, character: str) -> bool:
        if self.quote == character:
            self.quote, self.started = "", True
        elif not self.quote:
            self.quote = character
        else:
            self._take(character)
        return True

    def _group(self, character: str) -> bool:
        if self.quote in ("'", '"'):
            return self._take(character)
        if character == "`":
            if self.quote != "$":
                self.quote = "" if self.quote else "`"
        elif self.quote != "`":
            if character == "(" and (self.quote == "$" or not self.word.endswith("$")):
                raise ValueError("a parenthesis stands outside of quotes")
            self.quote = "" if character == ")" and self.quote == "$" else "$"
        return self._take(character)
