"""What a Docker daemon says, as a router's errors.

Used by `container`, `inside`, `elsewhere` and `docker`, which speak to one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fairlead.docker_api.client import ApiError
from fairlead.errors import EngineError, EngineUnavailableError, RouterError, RouterUnavailableError


@asynccontextmanager
async def in_our_words() -> AsyncIterator[None]:
    """What the daemon says, as a router's errors."""
    try:
        yield
    except EngineUnavailableError as error:
        raise RouterUnavailableError(error.message, hint=error.hint) from error
    except EngineError as error:
        raise RouterError(error.message, hint=error.hint) from error
    except ApiError as error:
        raise RouterError(f"Docker refused the router's container: {error.message}") from error
