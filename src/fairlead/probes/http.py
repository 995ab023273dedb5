"""The http probe: does the replica answer a GET with a status of the range?

Called by `runner`. Every probe opens a connection of its own, as a new client would, so that a process which only
serves its old connections is found out. aiohttp is loaded with the first http probe.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fairlead.probes.base import ProbeResult, ProbeTarget
from fairlead.probes.tcp import no_address, os_fault, shown
from fairlead.spec.model import Probe

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

_REDIRECT_LIMIT = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class HttpProbe:
    """Probes over one shared client session."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def probe(self, target: ProbeTarget, probe: Probe) -> ProbeResult:
        """GET ``probe.path``; redirects are followed within the replica only. Never raises for a target that fails."""
        address = target.address_of(probe.port)
        if address is None:
            return ProbeResult(passed=False, reason=no_address("http", probe), duration_s=0.0)
        url = f"http://{shown(address)}/{probe.path.removeprefix('/')}"
        started_s = time.monotonic()
        passed, seen = await self._look(url, probe)
        return ProbeResult(passed=passed, reason=f"GET {url}: {seen}", duration_s=time.monotonic() - started_s)

    async def close(self) -> None:
        """Close the session; the next probe would open another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _look(self, url: str, probe: Probe) -> tuple[bool, str]:
        import aiohttp

        try:
            async with asyncio.timeout(probe.timeout_s):
                status = await self._status(url, probe)
        except TimeoutError:
            return False, f"no answer within {probe.timeout_s:g} s"
        except aiohttp.ClientConnectorError as error:
            return False, os_fault(error.os_error)
        except aiohttp.ServerDisconnectedError:
            return False, "the connection was closed without an answer"
        except OSError as error:
            return False, os_fault(error)
        except (aiohttp.ClientError, ValueError) as error:
            return False, f"no valid answer: {_first_line(error)}"
        low, high = probe.status
        if low <= status <= high:
            return True, f"status {status}"
        return False, f"status {status}, not {low}-{high}"

    async def _status(self, url: str, probe: Probe) -> int:
        """The final status. A redirect to anywhere else is the answer itself: another host says nothing of this one."""
        from yarl import URL

        place = URL(url)
        for _ in range(_REDIRECT_LIMIT):
            status, location = await self._get(place, probe)
            if location is None or location.origin() != place.origin():
                return status
            place = location
        return status

    async def _get(self, url: URL, probe: Probe) -> tuple[int, URL | None]:
        from yarl import URL

        response = await self._opened().get(url, headers=dict(probe.headers), allow_redirects=False)
        try:
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response.status, None
            following = url.join(URL(location))
            return response.status, following if following.is_absolute() else None
        finally:
            response.close()

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": "fairlead-probe", "Accept": "*/*"},
                auto_decompress=False,
            )
        return self._session


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "message", "") or error).split("\n")
    return lines[0].strip()[:200] or type(error).__name__
