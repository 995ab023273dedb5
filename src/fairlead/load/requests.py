"""The four kinds of request, each sent once and checked whole. Called by `run`, one task a request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from fairlead.load import checks
from fairlead.load.connection import Answer, Connection
from fairlead.load.plan import App, Kind, LoadPlan
from fairlead.load.pool import Pool
from fairlead.load.report import FailureKind, Fault, Report

_SMALLEST_BODY_BYTES = 64
_LARGEST_BODY_BYTES = 4096


@dataclass(slots=True)
class Requests:
    """Sends requests of one plan through one pool. ``acknowledged``: nonces of the POSTs that were answered."""

    plan: LoadPlan
    pool: Pool
    report: Report
    acknowledged: set[str]

    async def once(self, kind: Kind, nonce: str) -> None:
        """:raises Fault: whatever was wrong with it."""
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                connection = await (self.pool.open() if kind is Kind.FRESH else self.pool.take())
                await self._on(connection, kind, nonce)
        except TimeoutError as error:
            raise Fault(FailureKind.TIMEOUT, f"no complete answer in {self.plan.timeout_s:g} s") from error

    async def _on(self, connection: Connection, kind: Kind, nonce: str) -> None:
        intact = False
        try:
            sent_at_s, sent_s = time.time(), time.perf_counter()
            answer, body = await self._send(connection, kind, nonce)
            took_ms = (time.perf_counter() - sent_s) * 1000.0
            self._check(kind, nonce, answer, body, sent_at_s)
            intact = answer.head.keeps_alive
        finally:
            if intact and kind is not Kind.FRESH:
                self.pool.give_back(connection)
            else:
                connection.close()
        if kind is not Kind.SLOW:
            self.report.latency.add(took_ms)

    async def _send(self, connection: Connection, kind: Kind, nonce: str) -> tuple[Answer, bytes]:
        fields = {"X-Nonce": nonce}
        if self.plan.app is App.ANY:
            return await connection.ask("GET", self.plan.target, fields), b""
        path = self.plan.base
        if kind is Kind.POST:
            body = body_of(nonce)
            return await connection.ask("POST", f"{path}/echo", fields, body), body
        if kind is Kind.SLOW:
            return await connection.ask("GET", f"{path}/slow?s={self.plan.slow_s:g}&nonce={nonce}", fields), b""
        if kind is Kind.FRESH:
            fields["Connection"] = "close"
        return await connection.ask("GET", f"{path}/?nonce={nonce}", fields), b""

    def _check(self, kind: Kind, nonce: str, answer: Answer, body: bytes, sent_at_s: float) -> None:
        if self.plan.app is App.ANY:
            checks.check_any(self.plan, answer)
        elif kind is Kind.POST:
            identity = checks.check_post(self.plan, answer, nonce, body)
            self.acknowledged.add(nonce)
            self.report.answered(*identity, sent_at_s)
        else:
            self.report.answered(*checks.check_get(self.plan, answer, nonce), sent_at_s)


def body_of(nonce: str) -> bytes:
    """Bytes that only this request has, of a length that varies from request to request."""
    length = _SMALLEST_BODY_BYTES + hash_of(nonce) % (_LARGEST_BODY_BYTES - _SMALLEST_BODY_BYTES)
    unit = f"{nonce}/".encode()
    return (unit * (length // len(unit) + 1))[:length]


def hash_of(nonce: str) -> int:
    """A small hash that is the same in every process."""
    value = 0
    for byte in nonce.encode():
        value = (value * 131 + byte) & 0xFFFFFFFF
    return value
