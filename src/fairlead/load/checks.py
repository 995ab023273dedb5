"""What a right answer is. Called by `requests` and `streams` for every single answer and message.

`examples/quickstart/app.py` describes the application that ``App.QUICKSTART`` stands for.
"""

from __future__ import annotations

import json
from typing import Any

from fairlead.load.connection import Answer, Head
from fairlead.load.plan import LoadPlan
from fairlead.load.report import FailureKind, Fault


def check_status(head: Head, expected: int = 200) -> None:
    if head.status != expected:
        raise Fault(FailureKind.STATUS, f"status {head.status} instead of {expected}")


def check_head(plan: LoadPlan, head: Head, nonce: str) -> tuple[str, str]:
    """Version and replica that a head names."""
    check_status(head)
    check_nonce(head.fields.get("x-nonce", ""), nonce)
    version, replica = head.fields.get("x-version", ""), head.fields.get("x-replica", "")
    check_version(plan, version)
    return version, replica


def check_get(plan: LoadPlan, answer: Answer, nonce: str) -> tuple[str, str]:
    version, replica = check_head(plan, answer.head, nonce)
    if parse(answer.body) != {"version": version, "replica": replica, "nonce": nonce}:
        raise Fault(FailureKind.BODY, f"head and body differ: {answer.body[:120]!r}")
    return version, replica


def check_post(plan: LoadPlan, answer: Answer, nonce: str, body: bytes) -> tuple[str, str]:
    version, replica = check_head(plan, answer.head, nonce)
    if answer.body != body:
        raise Fault(FailureKind.BODY, f"{len(body)} bytes sent, {len(answer.body)} others came back")
    return version, replica


def check_any(plan: LoadPlan, answer: Answer) -> None:
    if not 200 <= answer.status < 300:
        raise Fault(FailureKind.STATUS, f"status {answer.status} instead of 2xx")
    if plan.contains is not None and plan.contains.encode() not in answer.body:
        raise Fault(FailureKind.BODY, f"{plan.contains!r} is not in the {len(answer.body)} bytes of the body")


def check_message(
    plan: LoadPlan, text: bytes, expected: dict[str, Any], identity: tuple[str, str] | None
) -> tuple[str, str]:
    """Version and replica of one message of a stream; ``identity`` is what the messages before it named."""
    message = parse(text)
    for key, value in expected.items():
        if message.get(key) != value:
            raise Fault(FailureKind.NONCE, f"{key} is {message.get(key)!r} instead of {value!r}")
    version, replica = str(message.get("version", "")), str(message.get("replica", ""))
    check_version(plan, version)
    if identity is not None and identity != (version, replica):
        raise Fault(FailureKind.VERSION, f"a stream of {identity} goes on as {(version, replica)}")
    return version, replica


def check_nonce(found: str, sent: str) -> None:
    if found != sent:
        raise Fault(FailureKind.NONCE, f"the answer is to {found[:40]!r}, the request was {sent!r}")


def check_version(plan: LoadPlan, version: str) -> None:
    if plan.versions is not None and version not in plan.versions:
        raise Fault(FailureKind.VERSION, f"answered by version {version!r}, expected {sorted(plan.versions)}")


def parse(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Fault(FailureKind.BODY, f"not JSON: {body[:80]!r}") from error
    if not isinstance(value, dict):
        raise Fault(FailureKind.BODY, f"not an object: {body[:80]!r}")
    return value
