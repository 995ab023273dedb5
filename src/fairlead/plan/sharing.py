"""Published ports that two services want for the same requests: in one file, in two projects, or across a release.

Called by `preflight`, `controller.requests` and `controller.neighbours`. The load balancer would refuse them too, but
only in the middle of a release and without a place in the file. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fairlead.spec.model import Port, Project, Service

_EVERYWHERE = (None, "", "0.0.0.0", "::")
_RULE_FIX = "publish another port, or give them different hosts or paths (x-fairlead.route)"
_ADDRESS_FIX = "publish the port on every address, or on single ones only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The port at ``index`` of a service's ports."""

    service: Service
    index: int

    @property
    def port(self) -> Port:
        return self.service.ports[self.index]

    @property
    def everywhere(self) -> bool:
        return self.port.host_ip in _EVERYWHERE

    @property
    def rule(self) -> tuple[str, str]:
        """Which requests on the port are the service's, as `x-fairlead.route` says."""
        route = self.service.options.route
        return ((route.host or "").lower(), (route.path or "").rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """``later`` wants what ``earlier`` has; ``fix`` is what to do about it."""

    earlier: Published
    later: Published
    fix: str


def clashes(project: Project) -> Iterator[Clash]:
    """Each port that cannot be had, with the first one that has it; services in order of their names."""
    seen: dict[tuple[int, str], list[Published]] = {}
    for _, service in sorted(project.services.items()):
        for index, port in enumerate(service.ports):
            if not port.published or port.inside:
                continue
            mine = Published(service=service, index=index)
            others = seen.setdefault((port.published, port.protocol), [])
            found = next((clash for clash in (_clash(other, mine) for other in others) if clash is not None), None)
            if found is not None:
                yield found
            others.append(mine)


def contested(theirs: Mapping[str, Service], mine: Mapping[str, Service]) -> Iterator[Clash]:
    """Each port that a service of ``mine`` wants and one of ``theirs``, which are another project's, has."""
    for _, owner in sorted(theirs.items()):
        for has in _published(owner):
            for _, service in sorted(mine.items()):
                found = (_clash(has, wants) for wants in _published(service) if _same_port(has, wants))
                yield from (clash for clash in found if clash is not None)


def listens(port: Port) -> tuple[int | None, str, str | None]:
    """Where ``port`` is published: number, protocol, address."""
    return (port.published, port.protocol, port.host_ip)


def handovers(going: Mapping[str, Service], desired: Mapping[str, Service]) -> Iterator[Clash]:
    """Each port that a service of ``desired`` wants while replicas of another, which are ``going``, serve on it."""
    for name, owner in sorted(going.items()):
        kept = {listens(theirs.port) for theirs in _published(desired[name])} if name in desired else set()
        for mine in _published(owner):
            if listens(mine.port) in kept:
                continue  # Its rule is the new one's from the beginning.
            for other, service in sorted(desired.items()):
                if other != name:
                    found = (_clash(mine, theirs) for theirs in _published(service) if _same_port(mine, theirs))
                    yield from (clash for clash in found if clash is not None)


def _published(service: Service) -> list[Published]:
    return [Published(service=service, index=i) for i, p in enumerate(service.ports) if p.published and not p.inside]


def _same_port(one: Published, other: Published) -> bool:
    return listens(one.port)[:2] == listens(other.port)[:2]


def _clash(earlier: Published, later: Published) -> Clash | None:
    one, other = earlier.port.host_ip, later.port.host_ip
    same = (earlier.everywhere and later.everywhere and "::" not in (one, other)) or one == other
    if same and earlier.rule == later.rule and (earlier.service is not later.service or _differ(earlier, later)):
        return Clash(earlier=earlier, later=later, fix=_RULE_FIX)
    if not same and (earlier.everywhere or later.everywhere):
        return Clash(earlier=earlier, later=later, fix=_ADDRESS_FIX)
    return None


def _differ(earlier: Published, later: Published) -> bool:
    """Said twice is said once; two container ports behind one published port are not."""
    return earlier.port.target != later.port.target
