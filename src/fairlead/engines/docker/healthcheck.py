"""The `HEALTHCHECK` of images and containers, in the words of the file.

Called by `observe`, for the check that a container has, and by `project`, for the time that an image's own check
grants its start. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from fairlead.rollout.policy import START_TIMEOUT_S, start_timeout_s
from fairlead.spec.model import Healthcheck, Service

_NANOSECONDS = 1e9


def healthcheck_in(config: Mapping[str, Any]) -> Healthcheck | None:
    """The check of an image's or a container's ``Config``; None where it has none, or says `NONE`.

    What is zero there means the default, as silence does in the file.
    """
    found = config.get("Healthcheck") or {}
    kind, *rest = found.get("Test") or ("NONE",)
    if kind not in ("CMD", "CMD-SHELL") or not rest:
        return None
    shell = tuple(config.get("Shell") or ())
    return Healthcheck(
        test=tuple(rest) if kind == "CMD" else (*shell, *rest) if shell else (kind, *rest),
        interval_s=_seconds(found.get("Interval")),
        timeout_s=_seconds(found.get("Timeout")),
        retries=found.get("Retries") or None,
        start_period_s=_seconds(found.get("StartPeriod")),
        start_interval_s=_seconds(found.get("StartInterval")),
    )


def with_time_to_start(service: Service, config: Mapping[str, Any]) -> Service:
    """``service`` with as long a `start_timeout` as the check of its image would have been given in the file."""
    check = healthcheck_in(config)
    probes = service.options.probes
    if check is None or probes.start_timeout_s is not None or not service.health_is_up_to_the_image:
        return service
    own = service.healthcheck or Healthcheck()
    given = {field.name: value for field in fields(own) if (value := getattr(own, field.name))}
    patience_s = start_timeout_s(replace(service, healthcheck=replace(check, **given)))
    if patience_s <= START_TIMEOUT_S:
        return service
    return replace(service, options=replace(service.options, probes=replace(probes, start_timeout_s=patience_s)))


def _seconds(nanoseconds: int | None) -> float | None:
    return nanoseconds / _NANOSECONDS if nanoseconds else None
