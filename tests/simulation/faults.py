"""Which faults a run has and how often they hit: a random subset, at rates drawn from the seed.

Used by the simulated engine, router, store and controller, which ask :meth:`Faults.hit` where something may go
wrong, and by `chaos`, which does things to replicas by itself.
"""

from __future__ import annotations

from random import Random

CALLS = {
    "engine-fails": (0.01, 0.30),
    "engine-reply-lost": (0.01, 0.25),
    "engine-slow": (0.01, 0.25),
    "engine-late": (0.01, 0.20),
    "start-refused": (0.01, 0.15),
    "list-fails": (0.01, 0.30),
    "list-stale": (0.01, 0.30),
    "look-slow": (0.02, 0.50),
    "event-lost": (0.05, 0.60),
    "event-late": (0.05, 0.60),
    "event-twice": (0.05, 0.60),
    "slow-boot": (0.05, 0.40),
    "ignores-term": (0.05, 0.40),
    "exits-at-drain": (0.05, 0.40),
    "route-refused": (0.01, 0.30),
    "route-reply-lost": (0.01, 0.25),
    "route-slow": (0.01, 0.30),
    "route-acked-early": (0.02, 0.40),
    "router-silent": (0.01, 0.20),
    "store-full": (0.002, 0.10),
    "crash-before-commit": (0.001, 0.02),
    "crash-after-commit": (0.001, 0.02),
    "crash-before-effect": (0.002, 0.05),
    "crash-after-effect": (0.002, 0.05),
}
"""The chance of each fault a call, lowest and highest."""

NEWER_CALLS = {
    "route-half": (0.02, 0.40),
    "name-taken": (0.02, 0.20),
    "list-lags": (0.05, 0.50),
    "look-overtaken": (0.02, 0.30),
    "dies-when-ready": (0.02, 0.20),
    "dies-at-exchange": (0.02, 0.30),
    "abort-at-exchange": (0.05, 0.40),
}
"""More of them, drawn apart, so that the histories of seeds that have none of them stay as they were."""

AIMED_CALLS = {
    "abort-at-exchange": (0.05, 0.50),
    "abort-at-last": (0.20, 0.90),
    "ends-unseen": (0.10, 0.80),
    "lost-from-sight": (0.10, 0.80),
    "half-exchange": (0.10, 0.80),
    "regretted-entry": (0.05, 0.50),
    "fails-going-back": (0.40, 0.95),
    "pause-at-batch": (0.05, 0.50),
}
"""Those that wait for the moment at which they hurt most. They hurt most together, so that a run has most of them or
none."""

AIMED = 0.25
"""How many runs have them."""

NEWER_DEEDS = ("host-oom",)

NEIGHBOURS = 0.2
"""How many runs have a second project beside the one that everything happens to."""

DEEDS = (
    "crash",
    "oom",
    "sick",
    "hang",
    "deleted",
    "hidden",
    "daemon-restart",
    "router-restart",
    "second-leader",
    "controller-crash",
    "clock-jump",
)
"""What the injector does by itself, a few times a run."""


class Faults:
    """The faults of one run."""

    def __init__(self, seed: int) -> None:
        rng = Random(f"{seed}:faults")
        self._rng = Random(f"{seed}:hits")
        calm = rng.random() < 0.12
        share = 0.0 if calm else rng.choice((0.1, 0.25, 0.5))
        self.rates = {
            name: low * (high / low) ** rng.random() for name, (low, high) in CALLS.items() if rng.random() < share
        }
        self.deeds = tuple(name for name in DEEDS if rng.random() < share)
        self.deeds_every_s = rng.choice((3.0, 10.0, 30.0))
        newer = Random(f"{seed}:newer")
        self.rates |= {
            name: low * (high / low) ** newer.random()
            for name, (low, high) in NEWER_CALLS.items()
            if newer.random() < min(share, 0.2)
        }
        self.deeds += tuple(name for name in NEWER_DEEDS if newer.random() < min(share, 0.2))
        self.has_neighbour = newer.random() < NEIGHBOURS
        self.answers_late = newer.random() < 0.3
        aimed = Random(f"{seed}:aimed")
        self.routes_in_order = aimed.random() < 0.5
        if not calm and aimed.random() < AIMED:
            self.rates |= {
                name: low * (high / low) ** aimed.random()
                for name, (low, high) in AIMED_CALLS.items()
                if aimed.random() < 0.7
            }
            self.has_neighbour = self.has_neighbour or aimed.random() < 0.5
        self.healed = False

    def hit(self, name: str) -> bool:
        """Whether this fault strikes now."""
        rate = self.rates.get(name)
        return rate is not None and not self.healed and self._rng.random() < rate

    def goes(self, kind: str) -> bool:
        """Whether a deed of the injector or an act of the operator that is due happens at all."""
        return True

    def heal(self) -> None:
        """From now on nothing fails any more."""
        self.healed = True
