"""A load client that checks every answer and hides nothing: no retry, no redirect, no reconnect of its own.

Used by the end-to-end tests, `make demo` and the benchmarks, each in a process of its own
(``python -m fairlead.load URL``), so that a busy observer never slows the load. It imports nothing else of Fairlead and
no HTTP library: libraries send an idempotent request again when a kept connection breaks, which is the very failure
that this client is for.
"""

from fairlead.load.plan import App, LoadPlan, Mix
from fairlead.load.report import Failure, FailureKind, Report
from fairlead.load.run import run

__all__ = ["App", "Failure", "FailureKind", "LoadPlan", "Mix", "Report", "run"]
