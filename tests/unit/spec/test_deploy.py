"""`deploy`, `scale`, and the older keys for the same limits."""

from __future__ import annotations

import pytest

from fairlead.spec.model import FailureAction, Order, RestartCondition

from .loading import problem, project, service, tree

FULL = """
deploy:
  mode: replicated
  replicas: "3"
  labels: [a=1]
  endpoint_mode: vip
  update_config:
    {parallelism: 0, delay: 10s, failure_action: rollback, monitor: 5s, max_failure_ratio: "0.1", order: start-first}
  rollback_config: {order: stop-first}
  restart_policy: {condition: on-failure, delay: 0s, max_attempts: 0, window: 2m}
  placement: {constraints: [node.role == manager], preferences: [{spread: node.id}], max_replicas_per_node: 1}
  resources:
    limits: {cpus: "0.50", memory: 64M, pids: 10}
    reservations:
      cpus: 0.25
      devices: [{capabilities: [gpu], driver: nvidia}]
      generic_resources: [{discrete_resource_spec: {kind: SSD, value: 2}}]
"""


def test_canonical() -> None:
    assert service(FULL)["deploy"] == {
        "mode": "replicated",
        "replicas": 3,
        "labels": {"a": "1"},
        "update_config": {
            "parallelism": 0, "delay": "10s", "failure_action": "rollback", "monitor": "5s", "max_failure_ratio": 0.1,
            "order": "start-first",
        },
        "rollback_config": {"order": "stop-first"},
        "resources": {
            "limits": {"cpus": 0.5, "memory": str(64 << 20), "pids": 10},
            "reservations": {
                "cpus": 0.25,
                "devices": [{"capabilities": ["gpu"], "driver": "nvidia", "count": -1}],
                "generic_resources": [{"discrete_resource_spec": {"kind": "SSD", "value": 2}}],
            },
        },
        "restart_policy": {"condition": "on-failure", "delay": "0s", "max_attempts": 0, "window": "2m0s"},
        "placement": {
            "constraints": ["node.role == manager"], "preferences": [{"spread": "node.id"}], "max_replicas_per_node": 1,
        },
        "endpoint_mode": "vip",
    }  # fmt: skip


def test_typed() -> None:
    body = FULL.strip("\n").replace("\n", "\n    ")
    deploy = project(f"services:\n  a:\n    image: x\n    {body}\n").services["a"].deploy
    assert deploy.update is not None
    assert deploy.restart_policy is not None
    assert deploy.limits is not None
    assert (deploy.replicas, deploy.update.parallelism, deploy.update.delay_s) == (3, 0, 10.0)
    assert (deploy.update.failure_action, deploy.update.order) == (FailureAction.ROLLBACK, Order.START_FIRST)
    assert (deploy.restart_policy.condition, deploy.restart_policy.window_s) == (RestartCondition.ON_FAILURE, 120.0)
    assert (deploy.limits.cpus, deploy.limits.memory_bytes, deploy.limits.pids) == (0.5, 64 << 20, 10)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("deploy: {replicas: many}", "is not an integer"),
        ("deploy: {update_config: {order: start_first}}", "start-first"),
        ("deploy: {resources: {limits: {memory: lots}}}", "is not a size"),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1, device_ids: ['0']}]}}}",
            "exclude",
        ),
        ("deploy: {resources: {reservations: {devices: [{driver: x}]}}}", "'capabilities' is missing"),
        ("scale: 2\ndeploy: {replicas: 3}", "'scale' and 'deploy.replicas' differ"),
        ("cpus: 1\ndeploy: {resources: {limits: {memory: 1g}}}", "'cpus' and 'deploy.resources.limits.cpus' differ"),
        ("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}", "differ"),
    ],
)
def test_problems(attributes: str, words: str) -> None:
    assert words in problem(attributes).message


def test_words_that_no_engine_knows_are_accepted_with_a_notice() -> None:
    deploy = "{update_config: {failure_action: stop}, restart_policy: {condition: always}}"
    text = f"services: {{a: {{image: x, deploy: {deploy}}}}}"
    loaded = project(text)
    update, policy = loaded.services["a"].deploy.update, loaded.services["a"].deploy.restart_policy
    assert update is not None
    assert policy is not None
    assert (update.failure_action, policy.condition) == (None, RestartCondition.ANY)
    deploy = "services.a.deploy"
    assert [warning.partition("compose.yaml:")[2] for warning in loaded.warnings] == [
        f"1:51: {deploy}.update_config.failure_action: 'stop' is none of rollback, pause, continue; "
        "it counts as not written",
        f"1:91: {deploy}.restart_policy.condition: 'always' is none of none, on-failure, any; it counts as any",
    ]


def test_scale_sets_the_replicas() -> None:
    assert service("scale: 2\ndeploy: {mode: replicated}")["deploy"]["replicas"] == 2
    assert project("services: {a: {image: x, scale: 4}}").services["a"].replicas == 4


def test_a_container_name_with_replicas_is_accepted_with_a_notice() -> None:
    loaded = project("services: {a: {image: x, container_name: c, deploy: {replicas: 2}}}")
    assert any("container_name with 2 replicas" in warning for warning in loaded.warnings)
    assert tree("services: {a: {image: x, container_name: c, scale: 2}}")["services"]["a"]["container_name"] == "c"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("deploy: {replicas: -1}", "-1 replicas cannot run"),
        ("scale: -2", "-2 replicas cannot run"),
        ("deploy: {update_config: {max_failure_ratio: 2}}", "2 is no ratio"),
        ("deploy: {rollback_config: {delay: -5s}}", "'-5s' is negative"),
        ("deploy: {restart_policy: {window: -1m}}", "'-1m0s' is negative"),
        ("stop_grace_period: -3s", "'-3s' is negative"),
        ("restart: sometimes", "'sometimes' is no restart policy"),
        ("restart: 'on-failure:-3'", "'on-failure:-3' is no restart policy"),
    ],
)
def test_what_nobody_can_carry_out_is_refused(body: str, words: str) -> None:
    assert words in problem(body).message
