"""The attributes that have one or two forms each: limits, devices, hosts, networks, secrets, hooks and so on."""

# ruff: noqa: E501 - a table reads better with one entry a line

from __future__ import annotations

from typing import Any

import pytest

from .loading import problem, problems, project, service, tree


@pytest.mark.parametrize(
    ("attributes", "key", "value"),
    [
        ("mem_limit: 64m", "mem_limit", str(64 << 20)),
        ("memswap_limit: -1", "memswap_limit", "-1"),
        ("mem_swappiness: 60", "mem_swappiness", "60"),
        ("shm_size: 0", "shm_size", None),
        ("cpus: '0.1'", "cpus", 0.1),
        ("cpu_percent: 50", "cpu_percent", 50),
        ("cpu_shares: 1.9", "cpu_shares", 1),
        ("pids_limit: 100", "pids_limit", 100),
        ("oom_score_adj: -500", "oom_score_adj", -500),
        ("init: false", "init", False),
        ("attach: 'no'", "attach", False),
        ("tty: 'yes'", "tty", True),
        ("privileged: false", "privileged", None),
        ("group_add: [1, audio]", "group_add", ["1", "audio"]),
        ("stop_grace_period: 1m30s", "stop_grace_period", "1m30s"),
        ("pull_policy: if_not_present", "pull_policy", "missing"),
        ("pull_policy: every_12h", "pull_policy", "every_12h"),
        ("restart: 'no'", "restart", "no"),
        ("ulimits: {nofile: 10, nproc: {soft: 1, hard: 2}}", "ulimits", {"nofile": 10, "nproc": {"soft": 1, "hard": 2}}),
        ("storage_opt: {size: 1G, n: 5}", "storage_opt", {"size": "1G", "n": "5"}),
        ("credential_spec: {file: c.json}", "credential_spec", {"file": "c.json"}),
        ("cgroup: private", "cgroup", "private"),
        ("use_api_socket: true", "use_api_socket", True),
        ("logging: {driver: d, options: {a: 1, b: }}", "logging", {"driver": "d", "options": {"a": "1", "b": ""}}),
        ("extra_hosts: {a: 1.1.1.1, b: ['[::1]', 2.2.2.2]}", "extra_hosts", ["a=1.1.1.1", "b=2.2.2.2", "b=::1"]),
        ("extra_hosts: ['a:::1', 'b=1.1.1.1,2.2.2.2']", "extra_hosts", ["a=::1", "b=1.1.1.1", "b=2.2.2.2"]),
        ("devices: [/dev/a, '/dev/a:/dev/b:r']", "devices",
         [{"source": "/dev/a", "target": "/dev/a", "permissions": "rwm"},
          {"source": "/dev/a", "target": "/dev/b", "permissions": "r"}]),
        ("gpus: all", "gpus", [{"count": -1}]),
        ("gpus: [{driver: n, count: '2', options: [a=1]}]", "gpus", [{"driver": "n", "count": 2, "options": {"a": "1"}}]),
        ("blkio_config: {weight: 300, device_read_bps: [{path: /dev/a, rate: 1mb}]}", "blkio_config",
         {"weight": 300, "device_read_bps": [{"Path": "/dev/a", "Rate": "1048576"}]}),
        ("develop: {watch: [{path: ./s, action: sync, target: /t, ignore: x}]}", "develop",
         {"watch": [{"path": "/project/s", "action": "sync", "target": "/t", "exec": {"command": None}, "ignore": ["x"]}]}),
        ("pre_start: [{command: [m], image: i, per_replica: true}]", "pre_start",
         [{"command": ["m"], "image": "i", "per_replica": True}]),
        ("post_start: [{command: go now, user: root, environment: [A=1]}]", "post_start",
         [{"command": ["go", "now"], "user": "root", "environment": {"A": "1"}}]),
        ("x-note: 1\npre_stop: [{command: [a], privileged: true}]", "pre_stop", [{"command": ["a"], "privileged": True}]),
        ("provider: {type: t, options: {a: 1, b: [x, 2]}}", "provider", {"type": "t", "options": {"a": ["1"], "b": ["x", "2"]}}),
    ],
)  # fmt: skip
def test_canonical_value(attributes: str, key: str, value: Any) -> None:
    found = service(attributes).get(key)
    assert found == value
    assert isinstance(found, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("attributes", "words", "fix"),
    [
        ("restart: 5", "expected a string", 'write it in quotes: "5"'),
        ("tty: maybe", "neither true nor false", "write true or false"),
        ("mem_limit: lots", "is not a size", ""),
        ("cpu_percent: 200", "is not between 0 and 100", "write a number between 0 and 100"),
        ("stop_grace_period: 10", "expected a string", "write it with its unit: 10s"),
        ("healthcheck: {interval: 1.5}", "expected a string", "write it with its unit: 1.5s"),
        ("deploy: {update_config: {delay: 10}}", "expected a string", "write it with its unit: 10s"),
        ("deploy: {restart_policy: {window: 10}}", "expected a string", "write it with its unit: 10s"),
        ("deploy: {replicas: 1.5}", "expected an integer or a string", "write an integer"),
        ("pull_policy: allways", "no pull policy", "did you mean 'always'?"),
        ("cap_add: A", "expected a list", 'write a list: ["A"]'),
        ("cap_add: {A: 1}", "expected a list", "start each entry with '- '"),
        ("security_opt: [a, a]", "already in the list (line 4)", "remove one of the two"),
        ("hostname: ", "found nothing", "give it a string, or remove the key"),
        ("devices: ['a:b:c:d']", "too many colons", "write /dev/host[:/dev/container[:rwm]], or the long form"),
        ("extra_hosts: [nohost]", "has no address", ""),
        ("extra_hosts: {'a:b': 1.1.1.1}", "is not a host name", ""),
        ("gpus: some", "'some' is not one of all", "write one of all"),
        ("ulimits: {nofile: {soft: 1}}", "'hard' is missing", "add 'hard'"),
        ("develop: {watch: [{path: x, action: sync}]}", "needs a target", "add 'target'"),
        ("develop: {watch: [{path: x, action: snc, target: y}]}", "'snc' is not one of", "did you mean 'sync'?"),
        ("network-mode: host", "unknown key 'network-mode'", "did you mean 'network_mode'?"),
        ("enviroment: {}", "unknown key 'enviroment'", "did you mean 'environment'?"),
    ],
)
def test_what_is_wrong_and_what_to_write_instead(attributes: str, words: str, fix: str) -> None:
    found = problem(attributes)
    assert words in found.message
    assert found.fix == fix
    assert found.line == 4


def test_the_default_network_is_there_only_when_it_is_used() -> None:
    text = "services: {a: {image: x}, b: {image: y, network_mode: host}}"
    found = tree(text)
    assert found["networks"] == {"default": {"name": "p_default", "ipam": {}}}
    assert "networks" not in found["services"]["b"]
    assert "networks" not in tree("services: {b: {image: y, network_mode: none}}")


def test_networks() -> None:
    text = """
    services: {a: {image: x, networks: {front: {aliases: [w], ipv4_address: 10.0.0.2, priority: 5}, back: }}}
    networks:
      front: {driver: bridge, internal: "true", ipam: {config: [{subnet: 10.0.0.0/24}]}, labels: [a=1], enable_ipv6: false}
      back: {external: true, name: other}
      unused: {}
    """
    found = tree(text)
    assert found["services"]["a"]["networks"] == {
        "back": None,
        "front": {"priority": 5, "aliases": ["w"], "ipv4_address": "10.0.0.2"},
    }
    assert found["networks"] == {
        "back": {"name": "other", "ipam": {}, "external": True},
        "front": {
            "name": "p_front", "driver": "bridge", "ipam": {"config": [{"subnet": "10.0.0.0/24"}]}, "internal": True,
            "labels": {"a": "1"}, "enable_ipv6": False,
        },
    }  # fmt: skip
    assert "the network 'frnt' is not defined" in problem("networks: [frnt]", "networks: {front: }").message
    assert "exclude each other" in problem("network_mode: host\nnetworks: [n]", "networks: {n: }").message


def test_secrets_and_configs() -> None:
    text = """
    services: {a: {image: x, secrets: [s, {source: v, target: t, mode: 0440}], configs: [c, {source: f, uid: "1"}]}}
    secrets: {s: {file: ./s}, v: {environment: V}}
    configs: {c: {content: "x=${V}"}, f: {file: ./f}}
    """
    found = tree(text, environment={"V": "value"})
    assert found["services"]["a"]["secrets"] == [
        {"source": "s", "target": "/run/secrets/s"},
        {"source": "v", "target": "t", "mode": 0o440},
    ]
    assert found["services"]["a"]["configs"] == [{"source": "c"}, {"source": "f", "uid": "1"}]
    assert found["secrets"] == {
        "s": {"name": "p_s", "file": "/project/s"},
        "v": {"name": "p_v", "environment": "V"},
    }
    assert found["configs"]["c"] == {"name": "p_c", "content": "x=value"}


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ("{s: {file: a, environment: b}}", "exclude each other"),
        ("{s: {}}", "one of file, environment is missing"),
        ("{s: }", "found nothing"),
        ("{s: {fil: a}}", "unknown key 'fil'"),
    ],
)
def test_wrong_secrets(secrets: str, words: str) -> None:
    (found,) = problems(f"services: {{a: {{image: x, secrets: [s]}}}}\nsecrets: {secrets}")
    assert words in found.message


def test_models() -> None:
    text = "services: {a: {image: x, models: [m]}}\nmodels: {m: {model: ai/x, context_size: 1024, runtime_flags: [-a]}, u: {model: y}}"
    assert tree(text)["models"] == {"m": {"model": "ai/x", "context_size": 1024, "runtime_flags": ["-a"]}}
    assert "the model 'nope' is not defined" in problem("models: [nope]").message


def test_a_service_needs_something_to_run() -> None:
    (found,) = problems("services: {a: {user: u}}")
    assert found.message == "the service has neither an image nor a build"


def test_names() -> None:
    assert "not a valid name" in problems("services: {'a b': {image: x}}")[0].message
    assert "found nothing" in problems("services: {a: }")[0].message
    assert "unknown key 'service'" in problems("service: {a: {image: x}}")[0].message


def test_what_is_not_typed_is_kept() -> None:
    found = project("x-top: {a: 1}\nservices: {a: {image: x, x-own: [1], cap_add: [A], dns: 1.1.1.1}}")
    assert found.services["a"].extra == {"cap_add": ["A"], "dns": ["1.1.1.1"], "x-own": [1]}
    assert found.extensions == {"x-top": {"a": 1}}


def test_all_problems_of_all_files_come_at_once_in_their_order() -> None:
    text = """
    services:
      a: {imag: x, ports: ["x:1"], environment: {A: "${"}}
      b: {image: 5, depends_on: [nope], volumes: ["gone:/x"]}
    networks: []
    """
    files = {"compose.override.yaml": "services: {c: {image: x, scale: many}}"}
    found = problems(text, files)
    assert [(one.file.rpartition("/")[2], one.line, one.key) for one in found] == [
        ("compose.override.yaml", 1, "services.c.scale"),
        ("compose.yaml", 3, "services.a.imag"),
        ("compose.yaml", 3, "services.a.ports[0]"),
        ("compose.yaml", 3, "services.a.environment.A"),
        ("compose.yaml", 4, "services.b.image"),
        ("compose.yaml", 4, "services.b.depends_on.nope"),
        ("compose.yaml", 4, "services.b.volumes[0]"),
        ("compose.yaml", 5, "networks"),
    ]


def test_services_of_other_profiles_are_named_and_not_selected() -> None:
    loaded = project("services: {a: {image: x}, b: {image: x, profiles: [debug]}}")
    assert (sorted(loaded.services), loaded.unselected) == (["a"], ("b",))
