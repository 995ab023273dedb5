"""``python -m fairlead.load URL``: run the client in a process of its own and print its report as JSON.

Started by tests, the demo and the benchmarks. SIGINT and SIGTERM end the run politely: what is in flight is answered,
then the report comes. Exit code 0: nothing failed; 1: something did; 2: the command line is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from fairlead.load.plan import GET_ONLY, App, LoadPlan, Mix
from fairlead.load.report import Report
from fairlead.load.run import run


def main() -> int:
    arguments = _parser().parse_args()
    try:
        plan = _plan(arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    report = asyncio.run(_run(plan, arguments.progress))
    print(json.dumps(report.to_json()))  # noqa: T201
    return 1 if report.failed else 0


async def _run(plan: LoadPlan, progress_s: float | None) -> Report:
    stop, report = asyncio.Event(), Report()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    speaking = loop.create_task(_speak(report, progress_s)) if progress_s else None
    try:
        return await run(plan, stop=stop, report=report)
    finally:
        if speaking is not None:
            speaking.cancel()


async def _speak(report: Report, progress_s: float) -> None:
    """One JSON line every ``progress_s`` on standard error, for whoever waits for the load to flow."""
    while True:
        await asyncio.sleep(progress_s)
        line = {"at_s": round(time.time(), 3), "sent": report.sent, "ok": report.ok, "failed": report.failed}
        print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201


def _plan(arguments: argparse.Namespace) -> LoadPlan:
    app = App(arguments.app)
    if arguments.mix is not None:
        mix = Mix(**dict(zip(("keep_alive", "fresh", "post", "slow"), arguments.mix, strict=True)))
    else:
        mix = GET_ONLY if app is App.ANY else Mix()
    return LoadPlan(
        url=arguments.url,
        rate=arguments.rate,
        duration_s=arguments.duration,
        mix=mix,
        app=app,
        versions=frozenset(arguments.versions.split(",")) if arguments.versions else None,
        contains=arguments.contains,
        slow_s=arguments.slow,
        websockets=arguments.websockets,
        event_streams=arguments.event_streams,
        stream_life_s=arguments.stream_life,
        timeout_s=arguments.timeout,
        journal=arguments.journal,
    )


def _shares(text: str) -> list[float]:
    shares = [float(share) for share in text.split(",")]
    if len(shares) != 4:
        raise argparse.ArgumentTypeError("expected four numbers: keep-alive,new-connection,post,slow")
    return shares


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fairlead.load", description="Load that checks every answer.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (%(default)s)")
    parser.add_argument("--duration", type=float, help="seconds; without it until SIGINT or SIGTERM")
    parser.add_argument("--mix", type=_shares, help="shares of keep-alive,new-connection,post,slow requests")
    parser.add_argument("--app", choices=[app.value for app in App], default=App.QUICKSTART.value)
    parser.add_argument("--versions", help="the versions that may answer, with commas")
    parser.add_argument("--contains", help="text that every body must contain")
    parser.add_argument("--slow", type=float, default=2.0, help="seconds a slow request takes (%(default)s)")
    parser.add_argument("--websockets", type=int, default=0, help="open at any time")
    parser.add_argument("--event-streams", type=int, default=0, help="open at any time")
    parser.add_argument("--stream-life", type=float, default=10.0, help="seconds until a stream ends itself")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for a whole answer (%(default)s)")
    parser.add_argument("--journal", type=Path, help="the file to which the application appends each POST")
    parser.add_argument("--progress", type=float, metavar="SECONDS", help="a JSON line on standard error that often")
    return parser


if __name__ == "__main__":
    sys.exit(main())
