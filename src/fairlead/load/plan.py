"""What to send, where, how often, and what a right answer is. Made by `__main__`, the tests and the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit


class App(StrEnum):
    """What is known of the application.

    ``quickstart``: it answers as `examples/quickstart` does, so every byte can be checked. ``any``: only the status, a
    complete body and :attr:`LoadPlan.contains` can be, and only GET is sent.
    """

    QUICKSTART = "quickstart"
    ANY = "any"


class Kind(StrEnum):
    """One way of asking; the report counts each by itself."""

    KEEP_ALIVE = "keep-alive"
    FRESH = "new-connection"
    POST = "post"
    SLOW = "slow"
    WEBSOCKET = "websocket"
    EVENTS = "event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Shares of the four kinds of request, relative to each other."""

    keep_alive: float = 70.0
    fresh: float = 15.0
    post: float = 13.0
    slow: float = 2.0

    def sequence(self) -> Iterator[Kind]:
        """The kinds in an even, endless interleaving: no randomness, so that two runs send the same."""
        shares = {
            Kind.KEEP_ALIVE: self.keep_alive,
            Kind.FRESH: self.fresh,
            Kind.POST: self.post,
            Kind.SLOW: self.slow,
        }
        total = sum(shares.values())
        if total <= 0 or min(shares.values()) < 0:
            raise ValueError("the shares of a mix must not be negative, and not all of them zero")
        credit = dict.fromkeys(shares, 0.0)
        while True:
            for kind, share in shares.items():
                credit[kind] += share
            chosen = max(credit, key=lambda kind: credit[kind])
            credit[chosen] -= total
            yield chosen


GET_ONLY = Mix(keep_alive=80.0, fresh=20.0, post=0.0, slow=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One run of the client.

    ``rate`` is requests a second, sent on their own schedule however slow the answers are. ``duration_s`` None: until
    stopped. ``versions`` None: any version may answer. Each of the ``websockets`` and ``event_streams`` lives
    ``stream_life_s``, ends by itself and is opened anew; one that is ended by anybody else is a failure. ``timeout_s``
    is generous, so that a busy machine is never taken for a broken server. ``journal``: the file to which the
    application appends each POST, checked at the end for requests carried out twice or not at all.
    """

    url: str
    rate: float = 100.0
    duration_s: float | None = 10.0
    mix: Mix = field(default_factory=Mix)
    app: App = App.QUICKSTART
    versions: frozenset[str] | None = None
    contains: str | None = None
    slow_s: float = 2.0
    websockets: int = 0
    event_streams: int = 0
    stream_life_s: float = 10.0
    beat_s: float = 0.25
    timeout_s: float = 30.0
    journal: Path | None = None
    max_in_flight: int = 4000

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{self.url}: expected http://HOST[:PORT][/PATH]")
        if self.rate < 0 or self.stream_life_s <= 0 or self.beat_s <= 0 or self.timeout_s <= 0:
            raise ValueError("the rate must not be negative, and times must be above zero")
        if self.app is App.ANY and (self.websockets or self.event_streams or self.mix.post or self.mix.slow):
            raise ValueError("an application that is not known gets GET requests only")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def target(self) -> str:
        """Path and query."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @property
    def base(self) -> str:
        """The path below which the application's own paths start, without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")
