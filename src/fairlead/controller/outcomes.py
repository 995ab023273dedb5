"""What became of releases and operations, worked out from a book after each step.

Used by `core`; pure.
"""

from __future__ import annotations

from msgspec.structs import replace

from fairlead.controller.book import Book
from fairlead.controller.controls import Operation, OperationKind, OperationState
from fairlead.observed import Observation
from fairlead.rollout.release import is_converged, tolerated_slots
from fairlead.rollout.state import TransactionPhase
from fairlead.rollout.states import members

SCALE_DEADLINE_S = 600.0
CRASHES_UNTIL_FAILED = 3

_T = members(TransactionPhase)
_ENDS = {
    _T.SUCCEEDED: OperationState.SUCCEEDED,
    _T.ROLLED_BACK: OperationState.ROLLED_BACK,
    _T.FAILED: OperationState.FAILED,
    _T.SUPERSEDED: OperationState.FAILED,
}


def mirror_release(book: Book, now_s: float) -> Book:
    """``book`` with the record of its release saying what its transaction says."""
    transaction = book.project.transaction
    release = book.releases.get(transaction.release) if transaction else None
    if transaction is None or release is None:
        return book
    # Why it was paused is no news of a release that goes on.
    resumed = release.state == _T.PAUSED and transaction.phase is not _T.PAUSED
    message = transaction.message or ("" if resumed else release.message)
    if release.state == transaction.phase and release.message == message:
        return book
    ended = now_s if transaction.phase in _ENDS else None
    record = replace(release, state=str(transaction.phase), message=message, ended_at_s=ended)
    book = replace(book, releases={**book.releases, record.number: record})
    if transaction.phase is _T.ROLLED_BACK and book.project.serving == record.number:
        book = replace(book, project=replace(book.project, serving=_served_before(book, record.number)))
    return book


def _served_before(book: Book, number: int) -> int:
    """The release that serves again now that ``number``, which had served, was taken back; 0 for none."""
    good = (n for n, release in book.releases.items() if n < number and release.state == _T.SUCCEEDED)
    return max(good, default=0)


def supersede_operations(book: Book, newer: Operation, now_s: float) -> Book:
    """``book`` with every other running operation ended: a newer one took over."""
    for operation in list(book.operations.values()):
        if operation.id != newer.id and operation.ended_at_s is None and operation.id not in book.requests:
            text = f"superseded by {newer.kind} {newer.id}"
            book = book.with_operation(replace(operation, state=OperationState.FAILED, message=text, ended_at_s=now_s))
    return book


def settle_operations(book: Book, observation: Observation, now_s: float) -> Book:
    """``book`` with every operation ended whose goal is reached or out of reach."""
    for operation in [o for o in book.operations.values() if o.ended_at_s is None]:
        if operation.id in book.requests:
            continue
        state, message = _judge(book, operation, observation, now_s)
        if state is operation.state and message == operation.message:
            continue
        over = state not in (OperationState.RUNNING, OperationState.PAUSED)
        book = book.with_operation(replace(operation, state=state, message=message, ended_at_s=now_s if over else None))
    return book


def _judge(book: Book, operation: Operation, observation: Observation, now_s: float) -> tuple[OperationState, str]:
    if book.gone and book.project.leaving:
        if operation.kind is OperationKind.DOWN:
            return OperationState.SUCCEEDED, "is down"
        return OperationState.FAILED, "the project went down"
    if operation.kind is OperationKind.DOWN:
        return OperationState.RUNNING, ""
    transaction = book.project.transaction
    own = transaction is not None and transaction.release == operation.release and operation.changed
    if own and transaction is not None and operation.kind is not OperationKind.SCALE:
        return _judge_release(book, operation, observation, now_s)
    if is_converged(book.project, book.services, observation, book.definitions, now_s):
        return OperationState.SUCCEEDED, "serves"
    return _still_converging(book, operation, now_s)


def _judge_release(
    book: Book, operation: Operation, observation: Observation, now_s: float
) -> tuple[OperationState, str]:
    transaction = book.project.transaction
    assert transaction is not None
    if transaction.phase is _T.PAUSED or (book.project.paused and transaction.phase is _T.RUNNING):
        return OperationState.PAUSED, transaction.message or "paused by an operator"
    ended = _ENDS.get(transaction.phase)
    if ended is None:
        return OperationState.RUNNING, transaction.message
    if ended is OperationState.ROLLED_BACK and operation.kind is OperationKind.ROLLBACK:
        aborted = transaction.kind != "rollback"
        return (OperationState.SUCCEEDED if aborted else ended), transaction.message
    if ended is OperationState.SUCCEEDED:
        if not is_converged(book.project, book.services, observation, book.definitions, now_s, forgiving=True):
            return _still_converging(book, operation, now_s)
        return ended, f"release {transaction.release} serves{_tolerated(book)}"
    return ended, transaction.message


def _tolerated(book: Book) -> str:
    """What the release went on in spite of, as its file says."""
    found = []
    for name, state in sorted(book.services.items()):
        slots = tolerated_slots(state)
        if slots and state.target is not None and state.rollout is not None:
            count = f"{len(slots)} of {state.target.replicas} replicas failed"
            policy = "rollback_config" if state.rollout.returning else "update_config"
            found.append(f"; {name}: {count}, which its {policy} tolerates: {state.rollout.message}")
    return "".join(found)


def _still_converging(book: Book, operation: Operation, now_s: float) -> tuple[OperationState, str]:
    """Give up when replicas keep crashing, or after the deadline; the controller itself goes on trying."""
    for name, state in sorted(book.services.items()):
        for restarts in state.restarts.values():
            if restarts.exhausted or restarts.attempts >= CRASHES_UNTIL_FAILED:
                failures = [instance.failure for instance in state.instances if instance.failure]
                why = f": {failures[-1]}" if failures else ""
                return OperationState.FAILED, f"{name}: replicas keep failing{why}"
    if now_s - operation.started_at_s > SCALE_DEADLINE_S:
        return OperationState.FAILED, f"not there after {SCALE_DEADLINE_S:g} s"
    return OperationState.RUNNING, operation.message
