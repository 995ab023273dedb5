"""A plan as text: what a person reads and what the golden tests compare.

Called by `cli.plan`.
"""

from __future__ import annotations

from fairlead.plan.operations import Action, Operation, Plan

_SIGNS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.ADJUST: "~",
    Action.SCALE: "~",
    Action.RERUN: "~",
    Action.REMOVE: "-",
    Action.KEEP: " ",
}


def render(plan: Plan) -> str:
    """One paragraph an operation, in their order; ends with a newline."""
    if plan.is_empty:
        return f"{plan.project}: nothing to do\n"
    lines = [f"{plan.project}:"]
    for operation in plan.operations:
        lines.append(_headline(operation))
        lines.extend(
            f"        {change.key}: {change.before or '-'} -> {change.after or '-'}" for change in operation.changes
        )
    return "\n".join(lines) + "\n"


def _headline(operation: Operation) -> str:
    revisions = [revision for revision in (operation.before, operation.after) if revision]
    shown = " -> ".join(dict.fromkeys(revisions))
    counts = str(operation.replicas_after)
    if operation.replicas_before != operation.replicas_after:
        counts = f"{operation.replicas_before} -> {operation.replicas_after}"
    head = f"  {_SIGNS[operation.action]} {operation.stage}. {operation.action} {operation.service}"
    return f"{head} ({shown}, replicas {counts}): {operation.cause}"
