"""Which services are reached by name through the router."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engines.docker.attachments import aliases_of, attachments_of
from fairlead.engines.docker.inside import with_inside_ports
from fairlead.rollout.definition import definition_of
from fairlead.spec.model import (
    Deploy,
    Mount,
    Port,
    Probe,
    ProbeKind,
    Probes,
    Project,
    RouteProtocol,
    Service,
    ServiceOptions,
)
from fairlead.spec.revision import revision_of

API = Service(name="api", image="api", expose=("9000",), networks={"back": {"aliases": ["backend"]}})
WEB = Service(name="web", image="web", ports=(Port(target=80, published=8080),), networks={"front": {}, "back": {}})


def prepared(*services: Service, exposed: dict[str, tuple[int, ...]] | None = None) -> Project:
    by_name = {service.name: service for service in services}
    return with_inside_ports(Project(name="shop", working_dir="/", services=by_name), exposed or {})


def inside(project: Project, name: str) -> dict[int, dict[str, tuple[str, ...]]]:
    return {port.target: dict(port.inside) for port in project.services[name].ports if port.inside}


def test_every_network_with_every_name() -> None:
    project = prepared(replace(API, container_name="the-api"), WEB)
    assert inside(project, "api") == {9000: {"shop_back": ("api", "the-api", "backend")}}
    assert inside(project, "web") == {80: {"shop_back": ("web",), "shop_front": ("web",)}}


def test_replicas_do_not_carry_a_name_that_the_router_answers_to() -> None:
    project = prepared(API, WEB)
    service = project.services["api"]
    assert aliases_of(service) == ()
    (attachment,) = attachments_of(revision_of(project, service), "shop", (1, 41))
    assert attachment.endpoint["Aliases"] == []
    assert aliases_of(API) == ("api",)


def test_preparing_twice_is_preparing_once() -> None:
    project = prepared(API, WEB)
    assert with_inside_ports(project, {}) == project


def test_who_keeps_the_name() -> None:
    database = replace(API, name="db", volumes=(Mount(type="volume", source="data", target="/data"),))
    assert inside(prepared(database, API), "db") == {}
    assert inside(prepared(replace(API, labels={"fairlead.names": "direct"}), WEB), "api") == {}
    assert inside(prepared(replace(API, network_mode="host", networks={}), WEB), "api") == {}
    assert inside(prepared(replace(API, expose=()), WEB), "api") == {}
    assert inside(prepared(API), "api") == {}, "nobody could call it"
    assert inside(prepared(API, replace(WEB, networks={"front": {}})), "api") == {}, "no network in common"


def test_several_replicas_with_a_volume_are_no_database() -> None:
    shared = replace(API, volumes=(Mount(type="volume", source="data", target="/data"),), deploy=Deploy(replicas=2))
    assert inside(prepared(shared, WEB), "api") != {}


def test_the_image_says_where_the_file_is_silent() -> None:
    silent = replace(API, expose=())
    assert list(inside(prepared(silent, WEB, exposed={"api": (6379,)}), "api")) == [6379]
    assert list(inside(prepared(API, WEB, exposed={"api": (6379,)}), "api")) == [9000]


def test_bytes_are_passed_on_untouched_unless_it_speaks_http() -> None:
    def protocol(service: Service) -> RouteProtocol:
        project = prepared(service, WEB)
        routes = definition_of("shop", revision_of(project, project.services["api"]), cores=1).routes
        (route,) = [route for route in routes if route.inside]
        assert route.key == f"shop/api/inside:{route.target}"
        return route.protocol

    assert protocol(API) is RouteProtocol.TCP
    probed = ServiceOptions(probes=Probes(readiness=Probe(kind=ProbeKind.HTTP)))
    assert protocol(replace(API, options=probed)) is RouteProtocol.HTTP
    assert protocol(replace(API, expose=(), ports=(Port(target=8000, published=80),))) is RouteProtocol.HTTP
    assert protocol(replace(API, expose=(), ports=(Port(target=5432, published=5432),))) is RouteProtocol.TCP
