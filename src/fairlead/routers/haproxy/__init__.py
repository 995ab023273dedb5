"""HAProxy, driven by its Runtime API: the default router. See ``docs/routers/haproxy.md``."""

from fairlead.routers.haproxy.router import HAProxyRouter

__all__ = ["HAProxyRouter"]
