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


@pytest.mark.parametrize(
    "line",
    [
        b"[NOTICE] something else altogether\n",
        b"\n",
        b"1\n",
        b"1 ok\n",
        b"1 ok 0 0\n",
        b"1  ok 0\n",
        b"1 ok\t0\n",
        b"1 ok -100\n",
        b"-1 ok 0\n",
        b"1 ok 1_0\n",
        b"1 ok +1\n",
        b"1 ok 0x1\n",
        b"1 ok 99999999999\n",
        b"1" * 5000 + b" ok 0\n",
        b"1 ok " + b"1" * 5000 + b"\n",
        b"1 \xff\xfe 0\n",
        b"\xd9\xa1 ok 0\n",
        b"1 OK\x00 0\n",
        b"1 ok 0\r\n",
        b"no line ever ends here " * 100,
    ],
    ids=lambda line: repr(line[:20]),
)
def test_what_is_no_answer_is_an_error(line: bytes) -> None:
    parser = Parser()
    assert parser.feed(b"7 ok 1\nx") == [(7, Answer("ok", b"x"))]
    with pytest.raises(ValueError, match="no answer of a relay"):
        parser.feed(line)
