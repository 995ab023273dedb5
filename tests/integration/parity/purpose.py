"""The differences that Fairlead keeps on purpose: how each shows, and why. `docs/compose.md` tells users the same."""

from __future__ import annotations

import re

_NEWER = (
    "models|provider|pre_start|use_api_socket|pull_refresh_after|interface_name|initial_sync|include|image|labels|"
    "no_cache_filter|provenance|sbom|per_replica"
)

PURPOSES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("newer than Docker Compose 2.26", re.compile(rf"Additional property ({_NEWER}) is not allowed")),
    ("newer than Docker Compose 2.26", re.compile(r"pull_policy must be one of the following")),
    ("newer than Docker Compose 2.26", re.compile(r'unsupported env_file format "raw"')),
    ("newer than Docker Compose 2.26", re.compile(r"ignore must be a list")),
    ("Docker Compose cannot print ssh keys with a path", re.compile(r"MarshalJSON for type types.SSHKey")),
    ("Docker Compose loses gw_priority", re.compile(r"\.gw_priority: not expected")),
    ("Docker Compose moves x- entries of free mappings away", re.compile(r"#extensions")),
    ("Docker Compose takes a.b for a part of a", re.compile(r"cycle detected: node at path services")),
    ("a bare date in a list is text", re.compile(r"unexpected type time\.Time")),
    ("Docker Compose leaves `extends` of an empty service", re.compile(r"\.extends: missing, expected \{")),
    ("an empty list stays an empty list", re.compile(r"\.x-.*: expected None, found \[\]")),
    ("an empty list stays an empty list", re.compile(r"must be a (list|string|mapping)$")),
    ("a container_name with several replicas is accepted", re.compile(r"can't set container_name and")),
    ("a command alone runs as a local process", re.compile(r"has neither an image nor a build context")),
)


def purpose_of(words: str) -> str:
    """Why this difference is kept; empty when it is not."""
    return next((reason for reason, pattern in PURPOSES if pattern.search(words)), "")
