"""What a Docker host does with each key of a Compose file.

Declared to the preflight through the engine. Everything that has a place in the API is honoured; the rest says
why not.
"""

from __future__ import annotations

from fairlead.capabilities import EngineCapabilities, KeySupport, Support
from fairlead.engines.docker.limits import HOST_KEYS

_HONOURED = (
    *HOST_KEYS,
    "annotations",
    "attach",
    "build",
    "command",
    "configs",
    "container_name",
    "depends_on",
    "deploy",
    "devices",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "label_file",
    "labels",
    "logging",
    "mac_address",
    "network_mode",
    "networks",
    "platform",
    "ports",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "pull_policy",
    "read_only",
    "restart",
    "scale",
    "secrets",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "tmpfs",
    "tty",
    "ulimits",
    "user",
    "volumes",
    "volumes_from",
    "working_dir",
    "x-fairlead",
)

_IGNORED = {
    "build.cache_to": "the daemon keeps its own build cache",
    "deploy.endpoint_mode": "one host has no virtual addresses",
    "deploy.labels": "labels of a Swarm service; one host has none",
    "deploy.placement": "one host is the only place",
    "deploy.resources.reservations.cpus": "Docker reserves no processors on one host",
    "links": "every service is known by its name on its networks",
}

_REFUSED = {
    "build.additional_contexts": "the daemon's API takes one context; build with `docker buildx`",
    "build.secrets": "build secrets need a BuildKit client; build with `docker buildx`",
    "build.ssh": "SSH forwarding needs a BuildKit client; build with `docker buildx`",
    "credential_spec": "for Windows containers only",
    "deploy.mode=global-job": "one host has no Swarm jobs",
    "deploy.resources.reservations.generic_resources": "Swarm's own resources",
    "external_links": "links to containers of others break when those are replaced; share a network instead",
    "models": "no model runner is driven yet",
    "provider": "external providers are not run",
}


def capabilities() -> EngineCapabilities:
    keys = {key: KeySupport(support=Support.HONOURED) for key in _HONOURED}
    keys |= {key: KeySupport(support=Support.IGNORED, reason=reason) for key, reason in _IGNORED.items()}
    keys |= {key: KeySupport(support=Support.REFUSED, reason=reason) for key, reason in _REFUSED.items()}
    return EngineCapabilities(
        name="docker",
        keys=keys,
        isolates_filesystem=True,
        isolates_network=True,
        limits_memory=True,
        limits_cpu=True,
    )
