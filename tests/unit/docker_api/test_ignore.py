"""`.dockerignore`, judged by the rules of Docker's builder."""

from __future__ import annotations

import pytest

from fairlead.docker_api.ignore import is_ignored, patterns_of


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("*.log", "a.log", True),
        ("*.log", "x/a.log", False),
        ("**/*.log", "x/y/a.log", True),
        ("**/*.log", "a.log", True),
        ("node_modules", "node_modules/a/b", True),
        ("/top", "top", True),
        ("a/../b", "b", True),
        ("temp?", "temp1", True),
        ("temp?", "temp12", False),
        ("*\n!keep", "keep", False),
        ("*\n!keep/x", "keep/y", True),
        ("docs\n!docs/*.md\ndocs/secret.md", "docs/secret.md", True),
        ("docs\n!docs/*.md", "docs/a.md", False),
        ("# a comment", "# a comment", False),
        ("a[0-9]", "a7", True),
        ("x**z", "x/y/z", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        (".", "a", False),
        ("a b ", "a b", True),
    ],
)
def test_what_stays_at_home(text: str, path: str, ignored: bool) -> None:
    assert is_ignored(path, patterns_of(text)) is ignored
