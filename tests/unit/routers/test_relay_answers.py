"""Answers of a relay come through a stream that is cut anywhere."""

from __future__ import annotations

import pytest

from fairlead.routers.haproxy.relay import Answer, Parser

STREAM = b"0 ready 1\n62 ok 5\na\nb c1 unconnected 0\n3 late 11\n4 ok 3\nnone"
FOUND = [(0, Answer("ready", b"6")), (2, Answer("ok", b"a\nb c")), (1, Answer("unconnected", b""))]
FOUND += [(3, Answer("late", b"4 ok 3\nnone"))]


@pytest.mark.parametrize("size", [1, 2, 7, len(STREAM)])
def test_wherever_it_is_cut(size: int) -> None:
    parser = Parser()
    found = []
    for start in range(0, len(STREAM), size):
        found += parser.feed(STREAM[start : start + size])
    assert found == FOUND


def test_what_is_no_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="unpack"):
        Parser().feed(b"[NOTICE] something else altogether\n")
