from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fairlead.capabilities import EngineCapabilities, KeySupport, Support
from fairlead.engines.process.keys import capabilities
from fairlead.plan.preflight import Finding, preflight, table
from fairlead.spec.model import (
    Condition,
    Dependency,
    Deploy,
    Mark,
    Port,
    Probe,
    ProbeKind,
    Probes,
    Project,
    Resources,
    RolloutOptions,
    RouteOptions,
    Service,
    ServiceOptions,
    Strategy,
)

PROCESS = capabilities({}, root=True)


def project(*services: Service, marks: dict[str, int] | None = None) -> Project:
    placed = {key: Mark(file="compose.yaml", line=line, column=5) for key, line in (marks or {}).items()}
    return Project(
        name="demo", working_dir="/srv", services={service.name: service for service in services}, marks=placed
    )


def api(**fields: Any) -> Service:
    return Service(name="api", command=("serve",), **fields)


def shown(findings: tuple[Finding, ...]) -> list[tuple[int, str, str]]:
    return [(finding.line, finding.key, finding.support.value) for finding in findings]


def test_findings_stand_in_the_order_of_the_file_with_their_place() -> None:
    marks = {
        "services.api.command": 3,
        "services.api.read_only": 9,
        "services.api.networks": 4,
        "services.api.networks.front": 5,
        "services.api.ports[0]": 7,
    }
    found = preflight(project(api(read_only=True, networks={"front": {}}), marks=marks), PROCESS)
    assert shown(found) == [(4, "networks", "ignored"), (9, "read_only", "refused")]
    assert str(found[1]) == (
        "compose.yaml:9:5: services.api.read_only: refused: a process can write wherever its user may"
    )


def test_only_what_the_file_sets_is_looked_at() -> None:
    assert preflight(project(api(ports=(Port(target=80),)), marks={"services.api.ports": 4}), PROCESS) == ()
    assert preflight(project(api()), PROCESS) == ()


def test_strict_refuses_what_would_be_ignored() -> None:
    (found,) = preflight(project(api(hostname="web")), PROCESS, strict=True)
    assert (found.key, found.support) == ("hostname", Support.REFUSED)


def test_without_marks_typed_fields_and_the_rest_are_looked_at() -> None:
    service = api(hostname="web", extra={"sysctls": {"a": 1}, "x-mine": 1})
    assert [finding.key for finding in preflight(project(service), PROCESS)] == ["hostname", "sysctls"]
    service = api(deploy=Deploy(placement={"constraints": ["a"]}, limits=Resources(memory_bytes=1)))
    assert [finding.key for finding in preflight(project(service), PROCESS)] == ["deploy.placement"]


def test_a_limit_without_its_controller_is_ignored_with_the_reason() -> None:
    service = api(deploy=Deploy(limits=Resources(memory_bytes=1, cpus=1.0)))
    found = preflight(project(service), capabilities({"memory": "not delegated"}, root=False))
    assert [(finding.key, finding.reason) for finding in found] == [
        ("deploy.resources.limits.memory", "no memory limits: not delegated")
    ]


def test_an_image_without_a_command_is_refused_at_its_line() -> None:
    service = Service(name="db", image="postgres:17")
    (found,) = preflight(project(service, marks={"services.db.image": 12}), PROCESS)
    assert (found.line, found.key, found.support) == (12, "image", Support.REFUSED)
    (found,) = preflight(project(Service(name="db", image="postgres:17", command=("serve",))), PROCESS)
    assert (found.key, found.support) == ("image", Support.IGNORED)


def test_values_may_be_treated_on_their_own() -> None:
    def support(**fields: Any) -> list[str]:
        return [finding.support.value for finding in preflight(project(api(**fields)), PROCESS)]

    assert support(network_mode="host") == []
    assert support(network_mode="bridge") == ["ignored"]
    assert support(network_mode="none") == ["refused"]
    assert support(extra={"security_opt": ["no-new-privileges:true"]}) == []
    assert support(extra={"security_opt": ["no-new-privileges:true", "seccomp=x.json"]}) == ["refused"]
    assert support(extra={"security_opt": ["seccomp=x.json"]}) == ["refused"]


def test_names_with_dots_are_told_apart() -> None:
    services = (api(read_only=False), Service(name="api.read_only", command=("serve",), tty=True))
    found = preflight(project(*services, marks={"services.api.read_only.tty": 5, "services.api.command": 2}), PROCESS)
    assert [(finding.service, finding.key) for finding in found] == [("api.read_only", "tty")]


def test_a_key_nobody_knows_is_refused() -> None:
    (found,) = preflight(project(api(extra={"teleport": True})), PROCESS)
    assert (found.key, found.support, found.reason) == (
        "teleport",
        Support.REFUSED,
        "the process engine does not know this key",
    )


def test_the_table_has_what_is_honoured_too() -> None:
    marks = {"services.api.command": 3, "services.api.hostname": 4}
    assert shown(table(project(api(hostname="web"), marks=marks), PROCESS)) == [
        (3, "command", "honoured"),
        (4, "hostname", "ignored"),
    ]


def test_the_longest_prefix_decides() -> None:
    keys = {"deploy": KeySupport(support=Support.IGNORED), "deploy.replicas": KeySupport(support=Support.HONOURED)}
    engine = EngineCapabilities(name="x", keys=keys)
    assert engine.treatment("deploy.replicas").support is Support.HONOURED
    assert engine.treatment("deploy.labels.a").support is Support.IGNORED
    assert engine.treatment("other").support is Support.REFUSED
    everything = EngineCapabilities(name="x", keys={"*": KeySupport(support=Support.HONOURED)})
    assert everything.treatment("other").support is Support.HONOURED


def clash(one: Port, other: Port, **routes: RouteOptions) -> list[str]:
    """What is said of `api`, which publishes ``one``, and `web`, which publishes ``other``."""
    services = [
        Service(name=name, command=("serve",), ports=(port,), options=ServiceOptions(route=routes.get(name, DEFAULT)))
        for name, port in (("api", one), ("web", other))
    ]
    marks = {"services.api.ports[0]": 4, "services.web.ports[0]": 9}
    return [str(finding) for finding in preflight(project(*services, marks=marks), PROCESS)]


DEFAULT = RouteOptions()
PORT = Port(target=80, published=8080)


def test_a_port_that_two_services_publish_is_refused_with_both_places() -> None:
    assert clash(PORT, PORT) == [
        "compose.yaml:9:5: services.web.ports: refused: 8080 is published by api too (line 4): "
        "publish another port, or give them different hosts or paths (x-fairlead.route)"
    ]
    (found,) = clash(PORT, replace(PORT, host_ip="127.0.0.1"))
    assert found.endswith("publish the port on every address, or on single ones only")


def test_services_may_share_a_port_that_tells_them_apart() -> None:
    assert clash(PORT, PORT, web=RouteOptions(host="web.example.org")) == []
    assert clash(PORT, PORT, api=RouteOptions(path="/api/"), web=RouteOptions(path="/web")) == []
    assert len(clash(PORT, PORT, api=RouteOptions(path="/api/"), web=RouteOptions(path="/api"))) == 1
    assert clash(replace(PORT, host_ip="127.0.0.1"), replace(PORT, host_ip="127.0.0.2")) == []
    assert clash(PORT, replace(PORT, published=None)) == []


def test_one_service_cannot_publish_two_ports_as_one() -> None:
    (found,) = preflight(project(api(ports=(PORT, replace(PORT, target=81)))), PROCESS)
    assert (found.key, found.support) == ("ports", Support.REFUSED)
    assert preflight(project(api(ports=(PORT, PORT))), PROCESS) == ()


def test_options_that_nothing_carries_out_are_told_with_their_place() -> None:
    rollout = RolloutOptions(strategy=Strategy.CANARY, steps=(5.0,), bake_s=60.0, analysis={"p95": "<= 1s"})
    options = ServiceOptions(rollout=rollout, autoscale={"max": 8}, route=RouteOptions(weight=5))
    marks = {
        "x-fairlead.autoscale": 2,
        "services.api.command": 4,
        "services.api.x-fairlead.rollout.strategy": 6,
        "services.api.x-fairlead.rollout.steps": 7,
        "services.api.x-fairlead.rollout.bake": 8,
        "services.api.x-fairlead.rollout.analysis": 9,
        "services.api.x-fairlead.route.weight": 10,
    }
    found = preflight(project(api(options=options), marks=marks), PROCESS)
    assert shown(found) == [
        (2, "x-fairlead.autoscale", "ignored"),
        (6, "x-fairlead.rollout.strategy", "ignored"),
        (7, "x-fairlead.rollout.steps", "ignored"),
        (8, "x-fairlead.rollout.bake", "ignored"),
        (9, "x-fairlead.rollout.analysis", "ignored"),
        (10, "x-fairlead.route.weight", "ignored"),
    ]
    assert found[1].reason.startswith("the release is rolling, not canary")
    assert preflight(project(api(options=options), marks=marks), EngineCapabilities(name="x", keys=EVERYTHING)) == found


EVERYTHING = {"*": KeySupport(support=Support.HONOURED)}


def test_options_that_are_carried_out_are_not_told() -> None:
    for strategy in (Strategy.ROLLING, Strategy.RECREATE):
        options = ServiceOptions(rollout=RolloutOptions(strategy=strategy, drain_timeout_s=5.0))
        assert preflight(project(api(options=options)), PROCESS) == ()


@pytest.mark.parametrize("protocol", ["udp", "sctp"])
def test_a_port_that_no_load_balancer_carries_is_told_where_the_engine_leaves_it_to_one(protocol: str) -> None:
    ports = (Port(target=53, published=53), Port(target=53, published=53, protocol=protocol))
    marks = {"services.api.ports[0]": 4, "services.api.ports[1]": 5}
    (found,) = preflight(project(api(ports=ports), marks=marks), PROCESS)
    assert (found.line, found.key, found.support) == (5, "ports", Support.IGNORED)
    assert found.reason == f"53/{protocol} is published by nobody: the load balancer carries no {protocol.upper()}"
    assert preflight(project(api(ports=ports)), EngineCapabilities(name="x", keys=EVERYTHING)) == ()


def test_a_protocol_that_is_none_is_refused_with_its_place() -> None:
    ports = (Port(target=80, published=80), Port(target=81, published=81, protocol="tpc"))
    marks = {"services.api.ports[0]": 4, "services.api.ports[1]": 5}
    for engine in (PROCESS, EngineCapabilities(name="x", keys=EVERYTHING)):
        found = preflight(project(api(ports=ports), marks=marks), engine)
        assert (5, "ports", "refused") in shown(found)
        assert "'tpc' is none of the protocols tcp, udp, sctp" in [finding.reason for finding in found]


def probing(port: int | None, *, kind: ProbeKind = ProbeKind.TCP, role: str = "readiness") -> ServiceOptions:
    return ServiceOptions(probes=Probes(**{role: Probe(kind=kind, port=port)}))


@pytest.mark.parametrize("role", ["startup", "readiness", "liveness"])
@pytest.mark.parametrize("kind", [ProbeKind.TCP, ProbeKind.HTTP])
def test_a_probe_of_a_port_that_the_service_does_not_declare_is_refused(role: str, kind: ProbeKind) -> None:
    service = api(ports=(Port(target=8000),), expose=("8001-8002/tcp",), options=probing(9999, kind=kind, role=role))
    (found,) = preflight(project(service, marks={f"services.api.x-fairlead.probes.{role}": 7}), PROCESS)
    assert (found.line, found.key, found.support) == (7, f"x-fairlead.probes.{role}", Support.REFUSED)
    assert "does not declare port 9999 (it declares 8000, 8001, 8002)" in found.reason
    assert "listen on $PORT_9999" in found.reason
    # Where a replica has a host of its own, its ports can be asked without being declared.
    own_hosts = EngineCapabilities(name="x", keys=EVERYTHING, isolates_network=True)
    assert preflight(project(service), own_hosts) == ()


def test_a_probe_of_the_first_port_is_refused_where_there_is_none() -> None:
    marks = {"x-fairlead.probes.readiness": 2, "services.api.command": 5}
    (found,) = preflight(project(api(options=probing(None)), marks=marks), PROCESS)
    assert (found.line, found.support) == (2, Support.REFUSED)
    assert "the service declares no port" in found.reason


def test_probes_that_may_pass_are_left_alone() -> None:
    for service in (
        api(ports=(Port(target=8000),), options=probing(8000)),
        api(expose=("8000-8010",), options=probing(8005)),
        api(expose=("8000",), options=probing(None)),
        api(options=ServiceOptions(probes=Probes(readiness=Probe(kind=ProbeKind.COMMAND, command=("true",))))),
        api(scale=0, options=probing(9999)),
    ):
        assert [f for f in preflight(project(service), PROCESS) if f.key.startswith("x-fairlead")] == []


def test_nobody_waits_for_the_probes_of_a_job() -> None:
    waits = Service(
        name="web", command=("x",), depends_on={"api": Dependency(condition=Condition.COMPLETED, required=True)}
    )
    assert preflight(project(api(options=probing(9999)), waits), PROCESS) == ()


def test_more_replicas_than_one_controller_can_care_for_are_refused_with_their_place() -> None:
    marks = {"services.api.command": 3, "services.api.deploy.replicas": 5}
    assert preflight(project(api(deploy=Deploy(replicas=1000)), marks=marks), PROCESS) == ()
    found = preflight(project(api(deploy=Deploy(replicas=1001)), marks=marks), PROCESS)
    assert shown(found) == [(5, "deploy.replicas", "refused")]
    assert found[0].reason == "a service can have at most 1000 replicas"
    found = preflight(project(api(scale=1001), marks={"services.api.scale": 4}), PROCESS)
    assert shown(found) == [(4, "scale", "refused")]
