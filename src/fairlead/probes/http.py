"""The http probe: does the replica answer a GET with a status of the range?

Called by `runner`. Every probe opens a connection of its own, as a new client would, so that a process which only
serves its old connections is found out.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from fairlead.probes import exchange
from fairlead.probes.base import ProbeResult, ProbeTarget
from fairlead.probes.tcp import no_address, os_fault, shown
from fairlead.routing import Address, Reach
from fairlead.spec.model import Probe

_REDIRECT_LIMIT = 5
_REDIRECTS = (301, 302, 303, 307, 308)


async def probe(target: ProbeTarget, probe: Probe) -> ProbeResult:
    """GET ``probe.path``; redirects are followed within the replica only. Never raises for a target that fails.

    :raises RouterError: it could not be asked at all, because only the router reaches it.
    """
    address = target.address_of(probe.port)
    if address is None:
        return ProbeResult(passed=False, reason=no_address("http", probe), duration_s=0.0)
    url = f"http://{shown(address)}/{probe.path.removeprefix('/')}"
    started_s = time.monotonic()
    passed, seen = await _look(address, url, probe, target.reach)
    return ProbeResult(passed=passed, reason=f"GET {url}: {seen}", duration_s=time.monotonic() - started_s)


async def _look(address: Address, url: str, probe: Probe, reach: Reach | None) -> tuple[bool, str]:
    try:
        # Over there somebody else looks at the clock: the way back and forth is not the replica's fault.
        async with asyncio.timeout(probe.timeout_s if reach is None else None):
            status = await _status(address, url, probe, reach)
    except TimeoutError:
        return False, f"no answer within {probe.timeout_s:g} s"
    except exchange.NoAnswerError:
        return False, "the connection was closed without an answer"
    except OSError as error:
        return False, os_fault(error)
    except (exchange.BadAnswerError, ValueError) as error:
        return False, f"no valid answer: {error}"
    low, high = probe.status
    if low <= status <= high:
        return True, f"status {status}"
    return False, f"status {status}, not {low}-{high}"


async def _status(address: Address, url: str, probe: Probe, reach: Reach | None) -> int:
    """The final status. A redirect to anywhere else is the answer itself: another host says nothing of this one."""
    status = 0
    for _ in range(_REDIRECT_LIMIT):
        place = urlsplit(url)
        if reach is None:
            head = await exchange.get(address, _path_of(place), probe.headers)
        else:
            head = await exchange.get_through(reach, address, _path_of(place), probe.headers, probe.timeout_s)
        status = head.status
        if status not in _REDIRECTS or not head.location:
            return status
        following = urljoin(url, head.location)
        if _origin(urlsplit(following)) != _origin(place):
            return status
        url = following
    return status


def _path_of(place: SplitResult) -> str:
    return f"{place.path or '/'}?{place.query}" if place.query else place.path or "/"


def _origin(place: SplitResult) -> tuple[str, str | None, int | None]:
    return place.scheme, place.hostname, place.port or (80 if place.scheme == "http" else None)
