"""Every way in which a server can wrong a client is reported: a client that cannot fail proves nothing."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.load import App, FailureKind, LoadPlan, Mix, Report, run
from fairlead.load.plan import GET_ONLY, Kind

from .misbehaving import Behaviour, Exchange, Server, serve

KEPT = Mix(keep_alive=1, fresh=0, post=0, slow=0)
FRESH = Mix(keep_alive=0, fresh=1, post=0, slow=0)
POST = Mix(keep_alive=0, fresh=0, post=1, slow=0)
NOTHING = 0.0

Until = Callable[[Report], bool]


def failing(times: int = 2) -> Until:
    return lambda report: report.failed >= times


def answered(times: int = 10) -> Until:
    return lambda report: report.ok >= times


async def load(server: Server, until: Until, **options: object) -> Report:
    """Load until what the test is about has happened, however long this machine takes for it."""
    defaults: dict[str, object] = {"url": server.url, "rate": 100.0, "duration_s": None, "mix": KEPT, "slow_s": 0.01}
    plan = LoadPlan(**(defaults | options))  # type: ignore[arg-type]
    stop, report = asyncio.Event(), Report()
    running = asyncio.create_task(run(plan, stop=stop, report=report))
    try:
        async with asyncio.timeout(30):
            while not until(report) and not running.done():
                await asyncio.sleep(0.01)
    finally:
        stop.set()
        await running
    return report


def kinds(report: Report) -> set[FailureKind]:
    """What was reported, after the sums have been checked."""
    for tally in report.kinds.values():
        assert tally.sent == tally.ok + tally.failed
    return {failure.kind for failure in report.failures}


async def drop(exchange: Exchange) -> None:
    exchange.writer.close()


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


async def unavailable(exchange: Exchange) -> None:
    exchange.send(b"", status=503)


async def wrong_bytes(exchange: Exchange) -> None:
    exchange.send(b'{"version": "v1", "replica": "r1", "nonce": "0"}')


async def not_json(exchange: Exchange) -> None:
    exchange.send(b"<h1>hello</h1>")


async def somebody_elses(exchange: Exchange) -> None:
    exchange.send_json(nonce="00000000-7")


async def old_version(exchange: Exchange) -> None:
    exchange.send_json(version="v0")


async def silence(exchange: Exchange) -> None:
    await asyncio.sleep(600)


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


async def close_frame(exchange: Exchange) -> None:
    exchange.upgrade()
    await exchange.echo()
    exchange.send_frame(0x8, struct.pack("!H", 1012) + b"restart")


async def abrupt_end(exchange: Exchange) -> None:
    exchange.upgrade()
    await exchange.echo()
    exchange.writer.close()


async def abrupt_reset(exchange: Exchange) -> None:
    exchange.upgrade()
    await exchange.echo()
    exchange.reset()


async def wrong_echo(exchange: Exchange) -> None:
    exchange.upgrade()
    await exchange.echo(text="something else")
    await silence(exchange)


async def unasked(exchange: Exchange) -> None:
    exchange.upgrade()
    await exchange.echo()
    exchange.send_frame(0x1, b"{}")
    await silence(exchange)


async def changed_version(exchange: Exchange) -> None:
    exchange.upgrade()
    await exchange.echo(version="v1")
    await exchange.echo(version="v2")
    await silence(exchange)


async def no_echo(exchange: Exchange) -> None:
    exchange.upgrade()
    await silence(exchange)


async def wrong_key(exchange: Exchange) -> None:
    exchange.fields["sec-websocket-key"] = "AAAA"
    exchange.upgrade()


ANSWERED_ONCE = (close_frame, abrupt_end, abrupt_reset, unasked, changed_version)


@pytest.mark.parametrize(
    ("behaviour", "expected", "cause"),
    [
        (close_frame, FailureKind.CLOSED, "1012 restart"),
        (abrupt_end, FailureKind.CUT, "without a close frame"),
        (abrupt_reset, FailureKind.CUT, "reset"),
        (wrong_echo, FailureKind.NONCE, "something else"),
        (unasked, FailureKind.NONCE, "nobody asked"),
        (changed_version, FailureKind.VERSION, "goes on as"),
        (unavailable, FailureKind.STATUS, "503"),
        (drop, FailureKind.DISCONNECTED, "no answer"),
        (wrong_key, FailureKind.NONCE, "somebody else's key"),
        (no_echo, FailureKind.TIMEOUT, "echo of message 0"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_websocket_that_goes_wrong_is_reported(behaviour: Behaviour, expected: FailureKind, cause: str) -> None:
    timeout_s = 0.5 if behaviour is no_echo else 30.0
    async with serve(behaviour) as server:
        report = await load(
            server, failing(1), rate=NOTHING, websockets=1, stream_life_s=600.0, beat_s=0.05, timeout_s=timeout_s
        )
    assert kinds(report) == {expected}
    assert cause.lower() in report.failures[0].cause.lower()
    assert report.failures[0].replica == ("r1" if behaviour in ANSWERED_ONCE else "")


async def test_a_websocket_that_reaches_its_own_deadline_is_fine() -> None:
    closes: list[int] = []

    async def echo(exchange: Exchange) -> None:
        exchange.upgrade()
        exchange.send_frame(0x9, b"are you there")
        while True:
            opcode, payload = await exchange.receive_frame()
            if opcode == 0x8:
                closes.append(*struct.unpack("!H", payload[:2]))
                exchange.writer.close()
                return
            if opcode == 0x1:
                body = b'{"echo": "%s", "version": "v1", "replica": "r1"}' % payload
                exchange.send_frame(0x1, body)

    async with serve(echo) as server:
        report = await load(server, answered(7), rate=NOTHING, websockets=3, stream_life_s=0.2, beat_s=0.02)
        assert kinds(report) == set()
        assert report.kinds[Kind.WEBSOCKET].ok >= 7, "each place was taken again after its first deadline"
        assert report.kinds[Kind.WEBSOCKET].messages > 0
        async with asyncio.timeout(20):
            while len(closes) < report.kinds[Kind.WEBSOCKET].ok:
                await asyncio.sleep(0.01)
    assert set(closes) == {1000}


async def ended_politely(exchange: Exchange) -> None:
    exchange.start_events()
    exchange.event(0)
    exchange.end_events()
    exchange.writer.close()


async def ended_rudely(exchange: Exchange) -> None:
    exchange.start_events()
    exchange.event(0)
    exchange.writer.close()


async def with_a_gap(exchange: Exchange) -> None:
    exchange.start_events()
    exchange.event(0)
    exchange.event(2)
    await silence(exchange)


async def from_two_replicas(exchange: Exchange) -> None:
    exchange.start_events()
    exchange.event(0)
    exchange.event(1, replica="r2")
    await silence(exchange)


async def stalled(exchange: Exchange) -> None:
    exchange.start_events()
    exchange.event(0)
    await silence(exchange)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (ended_politely, FailureKind.CLOSED),
        (ended_rudely, FailureKind.CUT),
        (with_a_gap, FailureKind.NONCE),
        (from_two_replicas, FailureKind.VERSION),
        (stalled, FailureKind.TIMEOUT),
        (unavailable, FailureKind.STATUS),
        (drop, FailureKind.DISCONNECTED),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_an_event_stream_that_goes_wrong_is_reported(behaviour: Behaviour, expected: FailureKind) -> None:
    timeout_s = 0.5 if behaviour is stalled else 30.0
    async with serve(behaviour) as server:
        report = await load(
            server, failing(1), rate=NOTHING, event_streams=1, stream_life_s=600.0, beat_s=0.05, timeout_s=timeout_s
        )
    assert kinds(report) == {expected}


async def test_an_event_stream_that_reaches_its_own_deadline_is_fine() -> None:
    async def endless(exchange: Exchange) -> None:
        exchange.start_events()
        number = 0
        while not exchange.writer.is_closing():
            exchange.event(number)
            await exchange.writer.drain()
            number += 1
            await asyncio.sleep(0.02)

    async with serve(endless) as server:
        report = await load(server, answered(4), rate=NOTHING, event_streams=2, stream_life_s=0.2, beat_s=0.02)
    assert kinds(report) == set()
    assert report.kinds[Kind.EVENTS].ok >= 4
    assert report.kinds[Kind.EVENTS].messages > 0
