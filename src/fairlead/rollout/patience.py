"""How long a replica that has left the pool may go on finishing what it has in flight.

Read by `drain`, which may end it then, by `progress`, which waits for that, and by `timers`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fairlead.rollout.definition import Definition
from fairlead.rollout.policy import DRAIN_TIMEOUT_S, STREAM_TIMEOUT_S, ServicePolicy
from fairlead.rollout.state import Instance, ServiceState

LEAVING_TIMEOUT_S = 10.0
"""The most that requests get when the whole service goes away, or when its successor waits for its volume."""

FAILED_TIMEOUT_S = 5.0
"""The most that a replica gets whose liveness probe failed: it hardly answers any more."""


class DrainDeadlines(msgspec.Struct, frozen=True):
    """Seconds after leaving the pool, confirmed."""

    requests_s: float
    streams_s: float


def deadlines(state: ServiceState, instance: Instance, policy: ServicePolicy | None) -> DrainDeadlines:
    """How long ``instance`` may go on finishing."""
    requests_s = policy.drain_timeout_s if policy else DRAIN_TIMEOUT_S
    streams_s = policy.stream_timeout_s if policy else STREAM_TIMEOUT_S
    if state.leaving or (policy is not None and policy.exclusive):
        most = LEAVING_TIMEOUT_S
        return DrainDeadlines(min(requests_s, most), 0.0 if state.leaving else min(streams_s, most))
    if instance.failure:
        return DrainDeadlines(min(requests_s, FAILED_TIMEOUT_S), min(streams_s, FAILED_TIMEOUT_S))
    return DrainDeadlines(requests_s, streams_s)


def policy_for(instance: Instance, definitions: Mapping[str, Definition]) -> ServicePolicy | None:
    """The rules of the revision that ``instance`` runs; None where nobody knows it any more."""
    definition = definitions.get(instance.revision_id)
    return definition.policy if definition else None
