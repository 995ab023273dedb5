"""The engine that runs replicas as containers of one Docker daemon."""

from fairlead.engines.docker.engine import DockerEngine, create

__all__ = ["DockerEngine", "create"]
