"""The picture of a release, tables, widths and spans: pure functions, read as text."""

from __future__ import annotations

import io
import os
from dataclasses import replace

import pytest
from scenes import NEW, OLD, row

from fairlead.cli import output, paint
from fairlead.cli.frame import Scene, draw
from fairlead.cli.output import Cell, duration, size, table
from fairlead.cli.paint import Tone, clip, printable, width_of
from fairlead.cli.views import event_line
from fairlead.controller.controls import Operation, OperationKind, OperationState, ProjectStatus, ServiceRow
from fairlead.store.base import Event

OPERATION = Operation(id="1", project="shop", kind=OperationKind.UP, state=OperationState.RUNNING, release=2)
API = ServiceRow(name="api", revision=NEW, replicas=2, ready=1, phase="rolling", message="")
WORKER = ServiceRow(name="worker", revision=OLD, replicas=1, ready=1, phase="steady", message="")
STATUS = ProjectStatus(name="shop", engine="process", state="releasing", release=1, services=(API, WORKER))
ROWS = (
    row(1, "draining", OLD, in_flight=2, streams=1),
    row(3, "ready"),
    row(4, "starting", reason="tcp 127.0.0.1:4001: connection refused"),
    row(9, "ready", OLD, id="shop.worker.1", service="worker"),
)
SCENE = Scene(
    operation=OPERATION,
    elapsed_s=3.04,
    status=STATUS,
    rows=ROWS,
    since_s={"shop.api.1": 1.25, "shop.api.4": 65.0},
    news="shop.api.1 drains",
)


def text_of(scene: Scene, width: int = 100, height: int = 30) -> list[str]:
    return ["".join(piece for piece, _ in line).rstrip() for line in draw(scene, width, height)]


def test_a_picture_has_a_line_a_replica_under_its_service() -> None:
    assert text_of(SCENE) == [
        "shop · up · release 2 · 3.0s",
        "  api     1/2 ready  rolling",
        "    ↓ shop.api.1     draining   api@11111111   1.2s  2 in flight (1 stream)",
        "    ✓ shop.api.3     ready      api@22222222",
        "    • shop.api.4     starting   api@22222222    65s  tcp 127.0.0.1:4001: connection refused",
        "  worker  1/1 ready",
        "    ✓ shop.worker.1  ready      api@11111111",
        "  shop.api.1 drains",
    ]


def test_a_picture_never_leaves_the_terminal() -> None:
    many = replace(SCENE, rows=tuple(row(number, "ready") for number in range(200)))
    for scene in (SCENE, many):
        for width in (1, 5, 20, 79):
            for height in (1, 4, 8, 24):
                lines = text_of(scene, width, height)
                assert len(lines) <= height
                assert max(map(width_of, lines)) <= width


def test_what_changes_is_shown_before_what_serves() -> None:
    rows = (*(row(number, "ready") for number in range(50)), row(99, "failed", reason="exited with status 1"))
    lines = text_of(replace(SCENE, rows=rows), height=12)
    assert any("exited with status 1" in line for line in lines)
    assert any("… and 44 more" in line for line in lines)


def test_a_release_that_goes_back_says_so() -> None:
    lines = text_of(replace(SCENE, status=replace(STATUS, state="rolling-back")))
    assert lines[0] == "shop · up · release 2 · rolling-back · 3.0s"


@pytest.mark.parametrize(
    ("span_s", "text"),
    [
        (None, ""),
        (-1, "0.0s"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (119, "119s"),
        (121, "2m"),
        (7300, "2h"),
        (200000, "2d"),
    ],
)
def test_spans(span_s: float | None, text: str) -> None:
    assert duration(span_s) == text


def test_sizes() -> None:
    assert [size(0), size(1023), size(1024), size(5 * 2**40)] == ["0 B", "1023 B", "1.0 KiB", "5120.0 GiB"]


def test_widths_count_cells_and_clip_keeps_to_them() -> None:
    assert (width_of("日本"), width_of("é"), width_of("a")) == (4, 1, 1)
    assert clip("日本語です", 5) == "日本…"
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 3) == "ab…"
    assert clip("abc", 0) == ""


def test_nothing_that_a_terminal_acts_upon_gets_through() -> None:
    assert printable("a\x1b]0;title\x07\nb") == "a ]0;title  b"


def test_a_table_leaves_out_empty_columns_and_is_whole_in_a_pipe() -> None:
    lines = table(("A", "B", "C"), [("x", "", "1" * 300), (Cell("yy", Tone.GOOD), "", "2")])
    assert lines == ["A   C", "x   " + "1" * 300, "yy  2"]


def test_a_table_is_cut_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    monkeypatch.setattr(output, "columns", lambda: 30)
    lines = table(("A", "B"), [("short", "long " * 20), ("x", "y")])
    assert max(map(width_of, lines)) <= 30
    assert "short" in lines[1]


def test_an_event_of_several_lines_stands_below_its_time() -> None:
    event = Event(project="shop", kind="x", message="said last:\n    \x1b[2Jbad\n    end", at_s=0.0)
    first, *rest = event_line(event, io.StringIO()).splitlines()
    assert first.endswith("  said last:")
    assert rest == ["               [2Jbad", "              end"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("\033[" in paint.paint("x", Tone.BAD, Terminal())) is coloured
    assert paint.paint("x", Tone.BAD, io.StringIO()) == "x"


def test_symbols_are_plain_where_the_encoding_has_no_others() -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"

    assert paint.symbol("ready", Ascii()) == "+"
    assert paint.symbol("nothing") == " "
    assert os.linesep not in paint.symbol("ready")
