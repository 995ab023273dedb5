"""A simulated world that tries to break the controller: the real core, and everything around it made up.

`python -m tests.simulation --seeds 1000` runs it; `docs/reliability.md` says what it checks. One seed is one
history: the same seed gives the same trace, byte for byte.
"""
