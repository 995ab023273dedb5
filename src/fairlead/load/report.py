"""What a run found: counts of each kind, every failure with its time and cause, latencies, and who answered.

Filled by `run` while it goes on; printed as JSON by `__main__` and read back by the tests and the demo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fairlead.load.histogram import Histogram
from fairlead.load.plan import Kind

KEPT_FAILURES = 500


class FailureKind(StrEnum):
    """What went wrong, seen from outside."""

    CONNECT = "connect"
    """No connection: refused, unreachable."""
    DISCONNECTED = "disconnected"
    """The connection ended before a byte of the answer."""
    TRUNCATED = "truncated"
    """The connection ended inside the answer."""
    PROTOCOL = "protocol"
    """What came is not HTTP, or not a websocket."""
    TIMEOUT = "timeout"
    STATUS = "status"
    BODY = "body"
    """The right status with the wrong bytes."""
    NONCE = "nonce"
    """The answer to somebody else's request."""
    VERSION = "version"
    """An answer by a version that must not serve, or a stream that changed its version midway."""
    CLOSED = "closed-early"
    """A stream that the server ended politely, before its own deadline."""
    CUT = "cut"
    """A stream that broke off."""
    REPEATED = "repeated"
    """A POST that was carried out more than once."""
    LOST = "lost"
    """A POST that was answered and never carried out."""
    SATURATED = "saturated"
    """Not sent: more requests were open than the plan allows."""
    CLIENT = "client"
    """A fault of the client itself."""


class Fault(Exception):
    """Raised where something goes wrong, turned into a :class:`Failure` by whoever knows when and for what.

    ``replica``: who had answered so far, where that is known.
    """

    def __init__(self, kind: FailureKind, cause: str, replica: str = "") -> None:
        super().__init__(f"{kind}: {cause}")
        self.kind = kind
        self.cause = cause
        self.replica = replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """``at_s``: seconds since the epoch, when it was seen; ``after_s``: how long after it was sent.

    ``replica``: the one that a stream was open to, or that had begun to answer. ``nonce``: what the request carried,
    where it was one of ours.
    """

    at_s: float
    after_s: float
    request: Kind
    kind: FailureKind
    cause: str
    replica: str = ""
    nonce: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "at_s": round(self.at_s, 3),
            "after_s": round(self.after_s, 3),
            "request": self.request.value,
            "kind": self.kind.value,
            "cause": self.cause,
            "replica": self.replica,
            "nonce": self.nonce,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Failure:
        return cls(
            at_s=value["at_s"],
            after_s=value["after_s"],
            request=Kind(value["request"]),
            kind=FailureKind(value["kind"]),
            cause=value["cause"],
            replica=value["replica"],
            nonce=value["nonce"],
        )

    def __str__(self) -> str:
        return f"{self.request} {self.kind} after {self.after_s:.2f} s: {self.cause}"


@dataclass(slots=True)
class Tally:
    """Requests or streams of one kind; at the end of a run ``sent == ok + failed``."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    messages: int = 0
    """Messages checked, for streams."""


@dataclass(slots=True)
class Answers:
    """Requests answered by one version. ``last_sent_at_s``: when the latest of them was sent (epoch seconds)."""

    count: int = 0
    first_sent_at_s: float = 0.0
    last_sent_at_s: float = 0.0


@dataclass(slots=True)
class Report:
    """``idle_closed``: kept connections that the server ended while nothing was in flight, which is no failure."""

    started_at_s: float = 0.0
    elapsed_s: float = 0.0
    kinds: dict[Kind, Tally] = field(default_factory=lambda: {kind: Tally() for kind in Kind})
    failures: list[Failure] = field(default_factory=list)
    versions: dict[str, Answers] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    """Of plain requests and POSTs, from the first byte written to the last byte read."""
    lateness: Histogram = field(default_factory=Histogram)
    """How late the client itself was in sending: its own noise, not the server's."""
    idle_closed: int = 0

    @property
    def sent(self) -> int:
        return sum(tally.sent for tally in self.kinds.values())

    @property
    def ok(self) -> int:
        return sum(tally.ok for tally in self.kinds.values())

    @property
    def failed(self) -> int:
        return sum(tally.failed for tally in self.kinds.values())

    def fail(self, failure: Failure) -> None:
        """Count ``failure``; only the first few hundred are kept in words."""
        self.kinds[failure.request].failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(failure)

    def answered(self, version: str, replica: str, sent_at_s: float) -> None:
        answers = self.versions.setdefault(version, Answers(first_sent_at_s=sent_at_s))
        answers.count += 1
        answers.first_sent_at_s = min(answers.first_sent_at_s, sent_at_s)
        answers.last_sent_at_s = max(answers.last_sent_at_s, sent_at_s)
        self.replicas[replica] = self.replicas.get(replica, 0) + 1

    def to_json(self) -> dict[str, Any]:
        return {
            "started_at_s": round(self.started_at_s, 3),
            "elapsed_s": round(self.elapsed_s, 3),
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failed,
            "kinds": {
                kind.value: {"sent": t.sent, "ok": t.ok, "failed": t.failed, "messages": t.messages}
                for kind, t in self.kinds.items()
                if t.sent
            },
            "failures": [failure.to_json() for failure in self.failures],
            "versions": {
                version: {
                    "count": answers.count,
                    "first_sent_at_s": round(answers.first_sent_at_s, 3),
                    "last_sent_at_s": round(answers.last_sent_at_s, 3),
                }
                for version, answers in sorted(self.versions.items())
            },
            "replicas": dict(sorted(self.replicas.items())),
            "latency_ms": self.latency.to_json(),
            "lateness_ms": self.lateness.to_json(),
            "idle_closed": self.idle_closed,
        }
