"""The known mistakes that `mutations.py` plants in the core, and the guard that it takes away for some of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """``old`` stands exactly once in ``file`` (below ``src/fairlead``) and becomes ``new``.

    ``unguarded``: the second line of defence (:data:`GUARD`) is taken away too; with it no harm would be done.
    """

    name: str
    file: str
    old: str
    new: str
    unguarded: bool = False


GUARD = ("rollout/wanted.py", "            if spare <= 0:\n", "            if spare < -1_000:\n")
"""Old replicas that serve stay as long as too few would serve without them, whatever the batches say."""

MISTAKES = (
    Mistake(
        "signal without waiting for the router's confirmation",
        "rollout/drain.py",
        "    if not view.is_out(instance.id):\n        return False\n    if not instance.served",
        "    if not instance.served",
    ),
    Mistake(
        "do not wait for requests in flight",
        "rollout/drain.py",
        "requests_done = presence.requests == 0 or since_s >= limits.requests_s",
        "requests_done = True",
    ),
    Mistake(
        "do not wait for open streams",
        "rollout/drain.py",
        "return requests_done and (presence.streams == 0 or since_s >= limits.streams_s)",
        "return requests_done",
    ),
    Mistake(
        "count a drain's deadline from the decision",
        "rollout/drain.py",
        "return None if instance.out_since_s is None else now_s - instance.out_since_s",
        "return None if instance.draining_since_s is None else now_s - instance.draining_since_s",
    ),
    Mistake(
        "give requests no time when the service goes away",
        "rollout/patience.py",
        "DrainDeadlines(min(requests_s, most), 0.0 if",
        "DrainDeadlines(0.0, 0.0 if",
    ),
    Mistake(
        "believe a look that a newer one has overtaken",
        "controller/core.py",
        "if taken_at_s < self._looked_at_s.get(name, taken_at_s):",
        "if taken_at_s < 0:",
    ),
    Mistake(
        "believe the router while a change of it is under way",
        "rollout/view.py",
        "return self.confirmed and self.unchanging and (",
        "return self.confirmed and (",
    ),
    Mistake(
        "trust what a predecessor asked of the router",
        "controller/told.py",
        "return name in self._believed or not any(",
        "return name not in self._told or not any(",
    ),
    Mistake(
        "take a silent router for an empty one",
        "rollout/view.py",
        "confirmed=observation.routes_known,",
        "confirmed=True,",
    ),
    Mistake(
        "act before the journal",
        "controller/ledger.py",
        "ids = self._store.commit(self.epoch, commit)",
        "self._store.commit(self.epoch, replace(commit, intents=()))\n"
        "            ids = tuple(range(10**9, 10**9 + len(commit.intents)))",
    ),
    Mistake(
        "forget the lease",
        "store/memory.py",
        "if epoch != self._epoch:",
        "if epoch > self._epoch:",
    ),
    Mistake(
        "change the memory although the commit failed",
        "controller/ledger.py",
        "            return ()\n        put, delete",
        "            return ()\n        self.books[after.name] = after\n        put, delete",
    ),
    Mistake(
        "leave a predecessor's intents open",
        "controller/ledger.py",
        "        if stale:\n            store.commit",
        "        if stale and not store:\n            store.commit",
    ),
    Mistake(
        "forget the outcome of a command after `down`",
        "controller/core.py",
        "        if book.gone:\n            self._commit(book, now_s)\n            return\n",
        "        if book.gone:\n            return\n",
    ),
    Mistake(
        "remember failed commands for ever",
        "controller/core.py",
        "self._retries.keep_only(name, result.commands, self._open.get(name, ()))",
        "pass",
    ),
    Mistake(
        "read stored times as if the clock had never jumped",
        "controller/ledger.py",
        "{name: taken_over(book, now_s) for name",
        "{name: book for name",
    ),
    Mistake(
        "one replica more than admitted",
        "rollout/wanted.py",
        "return [s for s in range(1, admitted + 1) if",
        "return [s for s in range(1, admitted + 2) if",
    ),
    Mistake(
        "admit all replicas in the first batch",
        "rollout/progress.py",
        "admitted=min(update.parallelism, target.replicas), progress",
        "admitted=target.replicas, progress",
    ),
    Mistake(
        "let old replicas go when new ones are only admitted (and no second guard)",
        "rollout/wanted.py",
        "replaced = rollout.admitted if order is Order.STOP_FIRST else rollout.released",
        "replaced = rollout.admitted",
        unguarded=True,
    ),
    Mistake(
        "let replicas that serve go, whatever was lost meanwhile",
        "rollout/wanted.py",
        "            if spare <= 0:\n",
        "            if spare < -1_000:\n",
    ),
    Mistake(
        "count a new replica before it is in the pool (and no second guard)",
        "rollout/progress.py",
        "not policy.job and view.is_serving(instance.id)",
        "not policy.job",
        unguarded=True,
    ),
    Mistake(
        "take a replica that runs for one that is ready",
        "rollout/lifecycle.py",
        "if health is _H.READY:\n        starting",
        "if health is _H.READY or (instance.phase is _P.STARTING and health is not _H.DEAD):\n        starting",
    ),
    Mistake(
        "start a second writer beside the first",
        "rollout/wanted.py",
        "        return target.replicas - sum(1 for instance in state.instances if instance.phase is not _P.COMPLETED)",
        "        return target.replicas",
    ),
    Mistake(
        "heal a single writer beside itself",
        "rollout/wanted.py",
        "policy.exclusive and len(state.instances) > 0:",
        "policy.exclusive and len(state.instances) > 9:",
    ),
    Mistake(
        "take back a replica that counted as ended",
        "rollout/wanted.py",
        "instance.phase is _P.DRAINING and not instance.failure and not instance.leftover",
        "instance.phase is _P.DRAINING and not instance.failure",
    ),
    Mistake(
        "release a service without replicas though its port cannot be had",
        "rollout/progress.py",
        "if rollout.admitted == 0 and not view.listening:",
        "if rollout.admitted == 0 and target.replicas > 0 and not view.listening:",
    ),
    Mistake(
        "no gate for failed replicas",
        "rollout/progress.py",
        "    if rollout.failed_slots and ratio > update.max_failure_ratio:\n",
        "    if rollout.failed_slots and ratio > 1_000:\n",
    ),
    Mistake(
        "no deadline for progress",
        "rollout/progress.py",
        "    if policy.job or now_s < gate_deadline_s(state, rollout, policy):\n",
        "    if policy.job or now_s > 0:\n",
    ),
    Mistake(
        "forget one service when a release is taken back",
        "rollout/steering.py",
        "for name in sorted({*transaction.changed, *transaction.removed}):",
        "for name in sorted({*transaction.changed, *transaction.removed})[1:]:",
    ),
    Mistake(
        "leave changed numbers behind when a release is taken back",
        "rollout/steering.py",
        "for name, replicas in transaction.scaled.items():",
        "for name, replicas in tuple(transaction.scaled.items())[:0]:",
    ),
    Mistake(
        "go on although an operator paused",
        "rollout/machine.py",
        "    if not event.paused:\n",
        "    if event:\n",
    ),
    Mistake(
        "start before the dependencies are there",
        "rollout/dependencies.py",
        "        if not _is_fulfilled(other, rule.condition):\n",
        "        if not other:\n",
    ),
    Mistake(
        "book an old revision's failure on the new one",
        "rollout/lifecycle.py",
        "restarts = own if before.key == key else older",
        "restarts = own",
    ),
    Mistake(
        "wait for ever for a dependency that never comes",
        "rollout/dependencies.py",
        "    return since_s + definition.policy.progress_deadline_s\n",
        "    return None\n",
    ),
    Mistake(
        "do not open listeners again after a restart of the router",
        "rollout/pools.py",
        '        return "not listening"\n',
        '        return ""\n',
    ),
    Mistake(
        "give replicas no weight",
        "rollout/routes.py",
        "address=address, state=state)",
        "address=address, state=state, weight=0)",
    ),
    Mistake(
        "keep ended replicas",
        "rollout/machine.py",
        "case _P.STOPPED | _P.FAILED if view.is_out(instance.id):",
        "case _P.FAILED if view.is_out(instance.id):",
    ),
    Mistake(
        "replace no failed replica",
        "rollout/wanted.py",
        "    return restarts is None or (not restarts.exhausted and now_s >= restarts.next_at_s)\n",
        "    return restarts is None\n",
    ),
    Mistake(
        "remove volumes although nobody agreed",
        "controller/operators.py",
        "leaving=True, remove_volumes=volumes",
        "leaving=True, remove_volumes=True",
    ),
    Mistake(
        "keep volumes that were to go",
        "controller/operators.py",
        "leaving=True, remove_volumes=volumes",
        "leaving=True, remove_volumes=False",
    ),
    Mistake(
        "take one project's router for another's",
        "controller/told.py",
        "return name in self._believed or not any(",
        "return bool(self._believed) or not any(",
    ),
    Mistake(
        "take one project's open commands for another's",
        "controller/ledger.py",
        "self._open.setdefault(name, {})[order.command.key]",
        "self._open.setdefault('', {})[order.command.key]",
    ),
    Mistake(
        "name replicas without their project",
        "rollout/wanted.py",
        'id=f"{state.project}.{state.service}.{state.next_number}"',
        'id=f"{state.service}.{state.next_number}"',
    ),
    Mistake(
        "stop what was never started: hand out one command a look",
        "controller/core.py",
        "not self._told.has_to_show(name, c, now_s)\n        ]\n",
        "not self._told.has_to_show(name, c, now_s)\n        ][:1]\n",
    ),
    Mistake(
        "take a change that was carried out by half for whole",
        "rollout/pools.py",
        '            return f"{endpoint.replica_id} is missing"\n',
        "            continue\n",
    ),
    Mistake(
        "leave in the pool what should be gone",
        "rollout/pools.py",
        '            return f"{left.replica_id} should be gone"\n',
        "            continue\n",
    ),
    Mistake(
        "supersede a release that has ended",
        "controller/requests.py",
        "    if transaction is None or transaction.phase not in _UNDER_WAY:\n",
        "    if transaction is None:\n",
    ),
    Mistake(
        "forget a request when the controller dies before it became a release",
        "controller/book.py",
        '        "request": book.requests,\n',
        "",
    ),
    Mistake(
        "call a project down before what it leaves behind is put away",
        "controller/core.py",
        "        if result.gone and not put_away:\n",
        "        if result.gone and not book:\n",
    ),
    Mistake(
        "take a replica that a list leaves out for ended while the router is silent",
        "rollout/lifecycle.py",
        "instance.served and view.proxied and not view.confirmed:",
        "instance.served and view.proxied and not view:",
    ),
    Mistake(
        "start any number beside what a rollback that failed keeps",
        "rollout/wanted.py",
        "under_way = state.rollout is not None and state.rollout.phase in _NOT_SETTLED",
        "under_way = state.rollout is not None and state.rollout.phase in ACTIVE",
    ),
    Mistake(
        "find only one revision of a project without a record",
        "controller/adopt.py",
        "        for spec in mine:\n",
        "        for spec in mine[:1]:\n",
    ),
    Mistake(
        "oversleep: wake for nothing that time alone brings",
        "rollout/glance.py",
        "        return wakes_s[following] if following < len(wakes_s) else None\n",
        "        return None\n",
    ),
)
