"""Every way in which a server can wrong whoever holds a websocket or an event stream open is reported."""

import asyncio
import struct

import pytest

from fairlead.load import FailureKind
from fairlead.load.plan import Kind

from .loading import NOTHING, answered, failing, kinds, load
from .misbehaving import Behaviour, Exchange, drop, serve, silence, unavailable


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
