"""Which routes a service should have, and who stands in their pools.

Called by `release` after the machine's step. A route keeps its name through a release even where the two
revisions listen on different container ports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from fairlead.rollout.definition import Definition
from fairlead.rollout.state import Instance, ServiceState
from fairlead.rollout.states import LIVE, InstancePhase, members
from fairlead.routing import Endpoint, EndpointState, Route

_P = members(InstancePhase)
_E = members(EndpointState)
_IN_PROXY = frozenset({_P.STARTING, _P.READY, _P.DRAINING, _P.STOPPING})


def templates(
    state: ServiceState, definitions: Mapping[str, Definition], listening: Collection[str]
) -> dict[str, Route]:
    """The service's routes without endpoints, by key: the target's, and those that older replicas still need.

    ``listening``: the routes that the proxy has. What replicas on their way out had stays as long as they do, until
    the engine has removed them: one that only counts as ended may still have requests, which the proxy has to count.
    It is never opened anew for them, since the port may belong to somebody else by now.
    """
    found: dict[str, Route] = {}
    for definition_id in _definition_ids(state):
        definition = definitions.get(definition_id)
        if definition is not None:
            found = definition.by_key | found
    prefix = f"{state.project}/{state.service}/"
    left = [key for key in listening if key not in found and key.startswith(prefix)]
    if left and any(instance.served and instance.phase is not _P.COMPLETED for instance in state.others()):
        known = {key: route for d in definitions.values() for key, route in d.by_key.items() if key in left}
        found |= {key: known[key] for key in sorted(known)}
    return found


def filled(
    routes: Mapping[str, Route], state: ServiceState, definitions: Mapping[str, Definition]
) -> tuple[Route, ...]:
    """The service's ``routes``, which are :func:`templates`, with their pools, sorted by key."""
    is_coming = bool(routes) and _is_coming(state)
    return tuple([_fill(key, routes[key], state, definitions, is_coming) for key in sorted(routes)])


def is_proxied(state: ServiceState, definitions: Mapping[str, Definition]) -> bool:
    """Whether the proxy may send requests to a replica of the service, by what they publish."""
    for revision in {instance.revision_id for instance in state.instances}:
        definition = definitions.get(revision)
        if definition is not None and definition.routes:
            return True
    return False


def _definition_ids(state: ServiceState) -> list[str]:
    """The target's, and the origin's as long as it serves."""
    if state.target is None:
        return []
    ids = [state.target.definition_id]
    origin = state.rollout.origin if state.rollout else None
    if origin is None or origin.key == state.target.key:
        return ids
    serves = any(instance.key == origin.key and _is_pooled(instance) for instance in state.instances)
    return [*ids, origin.definition_id] if serves else ids


def _is_pooled(instance: Instance) -> bool:
    return instance.served and instance.phase in _IN_PROXY


def _fill(key: str, route: Route, state: ServiceState, definitions: Mapping[str, Definition], is_coming: bool) -> Route:
    endpoints = [_endpoint(key, route, instance, definitions) for instance in state.instances]
    pool = tuple(sorted([e for e in endpoints if e is not None], key=lambda endpoint: endpoint.replica_id))
    hold_timeout_s = route.hold_timeout_s if is_coming else 0.0
    if route.endpoints == pool and route.hold_timeout_s == hold_timeout_s:
        return route
    return replace(route, endpoints=pool, hold_timeout_s=hold_timeout_s)


def _is_coming(state: ServiceState) -> bool:
    """Whether a replica can be expected at all: none is asked for, or every slot has given up, and waiting is idle."""
    if state.leaving or state.target is None:
        return False
    if any(instance.phase in LIVE for instance in state.current()):
        return True
    given_up = {slot for slot, restarts in state.restarts.items() if restarts.exhausted}
    return any(slot not in given_up for slot in range(1, state.target.replicas + 1))


def _endpoint(key: str, route: Route, instance: Instance, definitions: Mapping[str, Definition]) -> Endpoint | None:
    if instance.phase not in _IN_PROXY or not (instance.served or instance.phase is _P.READY):
        return None
    definition = definitions.get(instance.revision_id)
    # The container port behind the route in the revision that this replica runs.
    own = definition.by_key.get(key, route) if definition is not None else route
    address = instance.addresses.get(own.target)
    if address is None:
        return None
    state = _E.READY if instance.phase is _P.READY else _E.DRAIN
    return Endpoint(replica_id=instance.id, address=address, state=state)
