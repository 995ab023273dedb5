"""Several streams of the API read at once by one waiting thread: the one that Ctrl-C reaches.

Called by `cli.follow` and `cli.attach`. Each stream has a thread of its own, which only reads and hands over;
the queue between is bounded, so that a terminal that is slow slows the streams down.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Any

from fairlead.api.client import Stream
from fairlead.errors import FairleadError

_WAITING_VALUES = 1000
_PUT_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Ended:
    """A stream came to its end; ``error`` says why where it was not its own."""

    source: str
    error: FairleadError | None = None


class Feed:
    """The values of all open streams, in the order in which they came."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(_WAITING_VALUES)
        self._streams: dict[str, Stream[Any]] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open(self, source: str, stream: Stream[Any]) -> None:
        """Read ``stream`` from now on; its end comes as :class:`Ended` with this ``source``."""
        self._streams[source] = stream
        thread = threading.Thread(target=self._read, args=(source, stream), name=f"read {source}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def next(self, timeout_s: float) -> Any | None:
        """The next value or :class:`Ended`; None when nothing came within ``timeout_s``."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        self._closed.set()
        for stream in self._streams.values():
            stream.close()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _read(self, source: str, stream: Stream[Any]) -> None:
        error: FairleadError | None = None
        try:
            for value in stream:
                self._put(value)
        except FairleadError as found:
            error = found
        self._put(Ended(source, error))

    def _put(self, value: Any) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(value, timeout=_PUT_INTERVAL_S)
            except queue.Full:
                continue
            return
