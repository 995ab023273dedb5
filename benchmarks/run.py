"""``make bench``: measure everything, print it, and write it to README.md in this folder."""

import os
import sys

from benchmarks import changes, footprint, routing
from benchmarks.page import PAGE, machine, table, write_section
from benchmarks.upstream import BODY


def main() -> int:
    load_before = os.getloadavg()[0]
    print("  changes under load")
    changed = changes.measure()
    print("  router")
    routed = routing.measure()
    print("  footprint")
    weighed = footprint.measure()
    text = _text(changed, routed, weighed, load_before)
    write_section("foundation", text)
    print(f"\n{text}\nWritten to {PAGE.parent.name}/{PAGE.name}")
    return 1 if changed.failed or routed.failed else 0


def _text(changed: changes.Changes, routed: routing.Routing, weighed: footprint.Footprint, load_before: float) -> str:
    quiet = f"The machine's load average before it began: {load_before:.1f} (0 is a machine left alone)."
    return "\n\n".join(
        [
            f"## Local processes\n\n{machine()}. Router: {routed.haproxy}. {quiet}",
            f"### Changes under {changes.TRAFFIC[0].rpartition('=')[2]} requests a second",
            _changes(changed),
            f"### The router at {routing.RATE:,} requests a second",
            _routing(routed),
            "### At rest",
            _footprint(weighed),
        ]
    )


def _changes(found: changes.Changes) -> str:
    rows = [
        ["release of 4 replicas", _spread(found.release_s, found.release_range_s)],
        ["`kill -9` of a replica until 4 are ready again", _spread(found.heal_s, found.heal_range_s)],
        ["for comparison: 4 of the application started at once, by themselves", f"{found.boot_s:.2f} s"],
        ["requests sent, failed", f"{found.sent:,}, **{found.failed}**"],
    ]
    note = (
        f"Medians and ranges of {changes.ROUNDS} releases and {changes.REPLICAS} kills. "
        "The application is `examples/quickstart`; every answer was checked. "
        f"POSTs that had already reached a replica when it was killed, and may not be sent twice: {found.lost}."
    )
    return f"{table(['what', 'result'], rows)}\n\n{note}"


def _routing(found: routing.Routing) -> str:
    rows = [
        ["direct, p50", f"{found.p50_ms[routing.DIRECT]:.2f} ms", ""],
        ["added by Fairlead's router, p50", f"**{found.added_ms(routing.FAIRLEAD):.2f} ms**", "0.40 ms"],
        ["added by the same HAProxy, by hand for the same duties", f"{found.added_ms(routing.BY_HAND):.2f} ms", ""],
        [
            "added by the same HAProxy, with nothing but a balance line",
            f"{found.added_ms(routing.BARE_WAY):.2f} ms",
            "",
        ],
        ["whole latency through Fairlead / by hand, p50", f"**{found.ratio:.2f}**", "1.05"],
        ["whole latency through Fairlead / bare, p50", f"{found.ratio_bare:.2f}", ""],
        ["p99 direct, Fairlead, by hand, bare", _all_p99(found), ""],
        ["requests sent, failed", f"{found.sent:,}, {found.failed}", "0"],
    ]
    note = (
        f"Medians of {routing.ROUNDS} rounds of {routing.ROUND_S:g} s in which the ways took turns: one replica, "
        f"kept connections, {len(BODY)} bytes. Client, proxy and replica share the machine's cores."
    )
    return f"{table(['what', 'result', 'at most'], rows)}\n\n{note}"


def _footprint(found: footprint.Footprint) -> str:
    rows = [[f"{own.name}", f"{own.memory_mb:.0f} MB, {own.cpu_percent:.1f} % of a core"] for own in found.at_rest]
    rows.append(["`fairlead --help`", f"{found.help_ms:.0f} ms (an empty interpreter: {found.python_ms:.0f} ms)"])
    note = (
        f"{footprint.REPLICAS} ready replicas, probed with the defaults, watched for {footprint.WATCH_S:.0f} s. "
        f"Memory is proportional (PSS). The command is the median of {footprint.HELP_ROUNDS} runs."
    )
    return f"{table(['what', 'result'], rows)}\n\n{note}"


def _spread(median_s: float, range_s: tuple[float, float]) -> str:
    return f"**{median_s:.2f} s** ({range_s[0]:.2f} to {range_s[1]:.2f})"


def _all_p99(found: routing.Routing) -> str:
    ways = (routing.DIRECT, routing.FAIRLEAD, routing.BY_HAND, routing.BARE_WAY)
    return " / ".join(f"{found.p99_ms[way]:.1f}" for way in ways) + " ms"


if __name__ == "__main__":
    sys.exit(main())
