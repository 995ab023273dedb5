"""Fairlead beside its peers on one Docker daemon: one application, one load, one run. `python -m benchmarks.docker`."""
