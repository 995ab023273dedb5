"""Which engine runs a project when nobody has named one.

Called by `cli.desired`. A file that runs as local processes does, since that needs nothing else; a file that needs
images goes to Docker.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from fairlead.errors import EngineError
from fairlead.spec.model import Project, Service

ANSWER_TIMEOUT_S = 2.0


def chosen_engine(project: Project, environ: Mapping[str, str]) -> str:
    """``docker`` where a service has no command of its own, or has an image and a daemon answers; else ``process``."""
    services = project.services.values()
    if any(not (service.command or service.entrypoint) for service in services):
        return "docker"
    if any(_has_image(service) for service in services) and _docker_answers(environ):
        return "docker"
    return "process"


def _has_image(service: Service) -> bool:
    """It names an image, or its build context has a Dockerfile; a context alone is a working directory."""
    if service.image is not None:
        return True
    build = service.build
    if build is None:
        return False
    if build.dockerfile_inline is not None or "://" in build.context:
        return True
    return (Path(build.context) / (build.dockerfile or "Dockerfile")).is_file()


def _docker_answers(environ: Mapping[str, str]) -> bool:
    if find_spec("aiodocker") is None:
        return False
    from fairlead.docker_api.endpoint import endpoint_of

    try:
        path = endpoint_of(environ).socket
    except EngineError:
        return False
    if path is None:
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_TIMEOUT_S)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
