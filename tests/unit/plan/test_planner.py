"""Plans as the text that a person reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from fairlead.plan.planner import Current, Wanted, definition_id, jobs, plan
from fairlead.plan.render import render
from fairlead.spec.model import Condition, Dependency, Deploy, Port, Project, Service
from fairlead.spec.revision import revision_of

API = Service(name="api", command=("serve",), environment={"TOKEN": "one"}, ports=(Port(target=80, published=8080),))
WORKER = Service(name="worker", command=("work",), depends_on={"api": Dependency(condition=Condition.HEALTHY)})
JOB = Service(name="migrate", command=("migrate",))
AFTER_JOB = replace(API, depends_on={"migrate": Dependency(condition=Condition.COMPLETED)})


def named(*services: Service) -> dict[str, Service]:
    return {service.name: service for service in services}


def wanted(*services: Service, again: str = "", replicas: Mapping[str, int] | None = None) -> dict[str, Wanted]:
    project = Project(name="shop", working_dir="/srv", services=named(*services))
    ends = jobs(project.services)
    return {
        s.name: Wanted(
            revision=revision_of(project, s),
            replicas=(replicas or {}).get(s.name, s.replicas),
            again=s.name == again,
            job=s.name in ends,
        )
        for s in services
    }


def current(*services: Service, settled: bool = True) -> dict[str, Current]:
    return {
        name: Current(
            revision=want.revision,
            definition_id=definition_id(want.revision, job=want.job),
            replicas=want.replicas,
            settled=settled,
        )
        for name, want in wanted(*services).items()
    }


def text(before: Mapping[str, Current], after: Mapping[str, Wanted]) -> str:
    """The plan, each service's revisions numbered in order: their digests change with every key that Compose gains."""
    seen: dict[str, list[str]] = {}

    def number(match: re.Match[str]) -> str:
        known = seen.setdefault(match[1], [])
        if match[0] not in known:
            known.append(match[0])
        return f"{match[1]}@{known.index(match[0]) + 1}"

    return re.sub(r"(\w+)@[0-9a-f]{8}", number, render(plan("shop", before, after)))


def test_a_first_deployment_creates_dependencies_first() -> None:
    assert text({}, wanted(WORKER, API)) == (
        "shop:\n"
        "  + 1. create api (api@1, replicas 0 -> 1): the project does not have it yet\n"
        "  + 2. create worker (worker@1, replicas 0 -> 1): the project does not have it yet\n"
    )


def test_the_same_again_is_nothing() -> None:
    assert text(current(API, WORKER), wanted(API, WORKER)) == "shop: nothing to do\n"


def test_a_changed_variable_is_an_update_that_hides_its_value() -> None:
    shown = text(current(API), wanted(replace(API, environment={"TOKEN": "two"}, image="api:2")))
    assert "update api (api@1 -> api@2, replicas 1): its definition changed" in shown
    assert "environment.TOKEN: (hidden) -> (hidden)" in shown
    assert "image: - -> api:2" in shown
    assert "one" not in shown
    assert "two" not in shown


def test_another_number_is_a_scale_and_no_update() -> None:
    shown = text(current(API), wanted(API, replicas={"api": 4}))
    assert shown == "shop:\n  ~ 1. scale api (api@1, replicas 1 -> 4): 4 replicas instead of 1\n"


def test_another_published_port_keeps_the_replicas() -> None:
    moved = replace(API, ports=(Port(target=80, published=9090),))
    assert "adjust api (api@1, replicas 1): its rules or published ports changed, its replicas stay" in text(
        current(API), wanted(moved)
    )


def test_a_restart_runs_the_same_again() -> None:
    assert "rerun api (api@1, replicas 1): a restart was asked for" in text(current(API), wanted(API, again="api"))


def test_a_service_that_is_gone_from_the_file_goes_last() -> None:
    lines = text(current(API, WORKER), wanted(replace(API, image="api:2"))).splitlines()
    assert lines[1].startswith("  ~ 1. update api")
    assert lines[-1].endswith("remove worker (worker@1, replicas 1 -> 0): it is no longer in the file")


def test_a_rollout_that_did_not_end_is_begun_again() -> None:
    assert "update api (api@1, replicas 1): its last rollout did not end" in text(
        current(API, settled=False), wanted(API)
    )


def test_a_job_runs_again_when_whoever_waits_for_it_changes() -> None:
    shown = text(current(JOB, AFTER_JOB), wanted(JOB, replace(AFTER_JOB, image="api:2")))
    assert "rerun migrate" in shown
    assert "api waits for it and changes" in shown
    assert text(current(JOB, AFTER_JOB), wanted(JOB, AFTER_JOB)) == "shop: nothing to do\n"


BEHIND = replace(API, depends_on={"cache": Dependency(restart=True)})
CACHE = Service(name="cache", command=("cache",))


def test_a_service_is_exchanged_after_a_dependency_that_it_follows_with_restart_true() -> None:
    lines = text(current(CACHE, BEHIND), wanted(replace(CACHE, image="cache:2"), BEHIND)).splitlines()
    assert lines[1].startswith("  ~ 1. update cache")
    assert lines[-1] == "  ~ 2. rerun api (api@1, replicas 1): it depends on cache with `restart: true`"


def test_restart_true_counts_for_an_asked_restart_and_along_a_chain() -> None:
    front = replace(WORKER, depends_on={"api": Dependency(restart=True)})
    shown = text(current(CACHE, BEHIND, front), wanted(CACHE, BEHIND, front, again="cache"))
    assert "rerun api (api@1, replicas 1): it depends on cache with `restart: true`" in shown
    assert "rerun worker (worker@1, replicas 1): it depends on api with `restart: true`" in shown


def test_nothing_follows_a_dependency_that_only_scales_or_a_job_that_only_runs_again() -> None:
    scaled = text(current(CACHE, BEHIND), wanted(CACHE, BEHIND, replicas={"cache": 3}))
    assert "keep api" in scaled
    follower = replace(WORKER, depends_on={"migrate": Dependency(condition=Condition.COMPLETED, restart=True)})
    shown = text(current(JOB, AFTER_JOB, follower), wanted(JOB, replace(AFTER_JOB, image="api:2"), follower))
    assert "rerun migrate" in shown
    assert "keep worker" in shown


def test_a_dependency_without_restart_true_takes_nobody_along() -> None:
    assert "keep worker" in text(current(API, WORKER), wanted(replace(API, image="api:2"), WORKER))


def test_a_job_and_a_service_are_two_definitions_of_one_revision() -> None:
    revision = wanted(JOB)["migrate"].revision
    assert definition_id(revision, job=True) != definition_id(revision, job=False)


def test_the_number_is_no_part_of_a_definition() -> None:
    many = wanted(replace(API, deploy=Deploy(replicas=9)))["api"]
    assert many.definition_id == wanted(API)["api"].definition_id
