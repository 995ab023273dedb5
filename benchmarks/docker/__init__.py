"""Fairlead beside its peers on one Docker daemon: the same application, the same load, one run. `python -m benchmarks.docker`."""
