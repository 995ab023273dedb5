"""Every way in which a server can wrong a client is reported: a client that cannot fail proves nothing. For streams see
`test_load_stream_notices`.
"""

import asyncio
from pathlib import Path

import pytest

from fairlead.load import App, FailureKind, Mix
from fairlead.load.plan import GET_ONLY, Kind

from .loading import FRESH, KEPT, POST, answered, failing, kinds, load
from .misbehaving import Behaviour, Exchange, drop, serve, silence, unavailable


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def half_a_head(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nx-ver")
    exchange.writer.close()


async def half_a_body(exchange: Exchange) -> None:
    exchange.send(b'{"vers', length=400)
    exchange.writer.close()


async def half_a_chunked_body(exchange: Exchange) -> None:
    exchange.start_events()
    exchange.event(0)
    exchange.writer.close()


async def junk(exchange: Exchange) -> None:
    exchange.writer.write(b"+OK this is no web server\r\n\r\n")


async def wrong_bytes(exchange: Exchange) -> None:
    exchange.send(b'{"version": "v1", "replica": "r1", "nonce": "0"}')


async def not_json(exchange: Exchange) -> None:
    exchange.send(b"<h1>hello</h1>")


async def somebody_elses(exchange: Exchange) -> None:
    exchange.send_json(nonce="00000000-7")


async def old_version(exchange: Exchange) -> None:
    exchange.send_json(version="v0")


@pytest.mark.parametrize("mix", [KEPT, FRESH], ids=["kept", "fresh"])
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (drop, FailureKind.DISCONNECTED),
        (reset, FailureKind.DISCONNECTED),
        (half_a_head, FailureKind.TRUNCATED),
        (half_a_body, FailureKind.TRUNCATED),
        (half_a_chunked_body, FailureKind.TRUNCATED),
        (junk, FailureKind.PROTOCOL),
        (unavailable, FailureKind.STATUS),
        (wrong_bytes, FailureKind.BODY),
        (not_json, FailureKind.BODY),
        (somebody_elses, FailureKind.NONCE),
        (old_version, FailureKind.VERSION),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_wrong_answer_is_reported(behaviour: Behaviour, expected: FailureKind, mix: Mix) -> None:
    async with serve(behaviour) as server:
        report = await load(server, failing(), mix=mix, versions=frozenset({"v1"}))
    assert kinds(report) == {expected}
    assert report.failed == report.sent
    assert len(server.requests) == report.sent, "each request was sent exactly once"


async def test_a_broken_answer_tells_whose_it_was() -> None:
    async with serve(half_a_body) as server:
        report = await load(server, failing())
    assert {failure.replica for failure in report.failures} == {"r1"}


async def test_a_server_that_never_answers_is_a_timeout() -> None:
    async with serve(silence) as server:
        report = await load(server, failing(), timeout_s=0.3)
    assert kinds(report) == {FailureKind.TIMEOUT}
    assert report.failed == report.sent


async def test_a_refused_connection_is_reported() -> None:
    async with serve() as server:
        pass
    report = await load(server, failing())
    assert kinds(report) == {FailureKind.CONNECT}


async def test_a_broken_kept_connection_is_not_hidden_by_a_retry() -> None:
    async def drop_the_second(exchange: Exchange) -> None:
        if exchange.number == 2:
            exchange.writer.close()
        else:
            exchange.rightly()

    async with serve(drop_the_second) as server:
        report = await load(server, failing(), rate=20)
    assert kinds(report) == {FailureKind.DISCONNECTED}
    assert len(server.requests) == report.sent
    assert report.failures[0].cause == "no answer to request 2 of this connection"


async def test_an_idle_connection_closed_by_the_server_is_no_failure() -> None:
    async def answer_and_leave(exchange: Exchange) -> None:
        exchange.rightly()
        await exchange.writer.drain()
        exchange.writer.close()

    async with serve(answer_and_leave) as server:
        report = await load(server, answered(), rate=20)
    assert kinds(report) == set()
    assert report.idle_closed > 0


async def test_connection_close_is_honoured() -> None:
    async def last_answer(exchange: Exchange) -> None:
        exchange.send_json(close=True)

    async with serve(last_answer) as server:
        report = await load(server, answered())
    assert kinds(report) == set()
    assert server.connections == report.sent


async def test_a_good_server_gets_a_clean_report() -> None:
    async with serve() as server:
        report = await load(
            server, answered(), mix=Mix(keep_alive=1, fresh=1, post=1, slow=1), versions=frozenset({"v1"})
        )
    assert kinds(report) == set()
    assert report.ok == report.sent == len(server.requests)
    assert report.versions["v1"].count == report.replicas["r1"] == report.sent
    assert all(report.kinds[kind].ok for kind in (Kind.KEEP_ALIVE, Kind.FRESH, Kind.POST, Kind.SLOW))


async def test_a_post_with_other_bytes_back_is_reported() -> None:
    async def shorten(exchange: Exchange) -> None:
        exchange.send(exchange.body[:-1])

    async with serve(shorten) as server:
        report = await load(server, failing(), mix=POST)
    assert kinds(report) == {FailureKind.BODY}


@pytest.mark.parametrize(
    ("times", "expected"), [(0, {FailureKind.LOST}), (1, set()), (2, {FailureKind.REPEATED})], ids=["0", "1", "2"]
)
async def test_a_post_must_be_carried_out_exactly_once(times: int, expected: set[FailureKind], tmp_path: Path) -> None:
    journal = tmp_path / "journal"

    async def carry_out(exchange: Exchange) -> None:
        with journal.open("a") as file:
            file.write(f"{exchange.nonce} v1 r1\n" * times)
        exchange.rightly()

    async with serve(carry_out) as server:
        report = await load(server, answered(), mix=POST, journal=journal)
    assert kinds(report) == expected
    assert report.failed == (report.sent if expected else 0), "one failure a POST"


async def test_a_run_that_outgrows_its_bound_says_so() -> None:
    async with serve(silence) as server:
        report = await load(server, failing(5), rate=200, max_in_flight=3, timeout_s=0.5)
    assert kinds(report) == {FailureKind.SATURATED, FailureKind.TIMEOUT}
    assert report.kinds[Kind.KEEP_ALIVE].failed == report.sent
    assert len(server.requests) <= report.kinds[Kind.KEEP_ALIVE].sent - 5


async def test_slow_answers_do_not_slow_the_sending() -> None:
    gate = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        if len(server.requests) == 20:
            gate.set()
        await gate.wait()
        exchange.rightly()

    async with serve(hold) as server:
        report = await load(server, answered(20))
    assert report.ok == report.sent >= 20, "twenty were sent before the first was answered"


async def test_an_unknown_application_is_checked_for_status_and_text() -> None:
    async def page(exchange: Exchange) -> None:
        exchange.send(b"<h1>facts</h1>", status=200 if exchange.path == "/facts" else 404)

    async with serve(page) as server:
        known: dict[str, object] = {"app": App.ANY, "mix": GET_ONLY}
        missing = await load(server, failing(), **known)
        right = await load(server, answered(), url=f"{server.url}/facts", contains="facts", **known)
        wrong = await load(server, failing(), url=f"{server.url}/facts", contains="fiction", **known)
    assert kinds(missing) == {FailureKind.STATUS}
    assert kinds(right) == set()
    assert kinds(wrong) == {FailureKind.BODY}
