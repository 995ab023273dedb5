"""What the chosen engine makes of the file: the table of `plan`, the notices of `up`, the refusal of both.

Called by those two verbs.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fairlead.capabilities import EngineCapabilities, Support
from fairlead.cli.output import note, say
from fairlead.cli.paint import Tone, columns, is_terminal, paint
from fairlead.errors import RefusedError
from fairlead.plan.preflight import Finding
from fairlead.settings import ENGINES

_TONES = {Support.HONOURED: Tone.GOOD, Support.IGNORED: Tone.WARN, Support.REFUSED: Tone.BAD}
_MOST_LINES = 20


def capabilities_of(engine: str) -> EngineCapabilities:
    """What ``engine`` can do on this machine.

    :raises RefusedError: there is no such engine, or a package that it needs is missing.
    """
    if engine == "process":
        from fairlead.engines.process import cgroups, keys

        return keys.capabilities(cgroups.detect().missing, root=os.geteuid() == 0)
    if engine == "docker":
        if find_spec("aiodocker") is None:
            raise RefusedError(
                "the docker engine needs a package that is not installed: aiodocker",
                hint="pip install 'fairlead[docker]'",
            )
        from fairlead.engines.docker.capabilities import capabilities

        return capabilities()
    raise RefusedError(f"there is no engine {engine!r}", hint=f"engines: {', '.join(ENGINES)}")


def strictly(findings: Sequence[Finding]) -> list[Finding]:
    """``findings`` with what would be ignored refused."""
    return [
        replace(finding, support=Support.REFUSED) if finding.support is Support.IGNORED else finding
        for finding in findings
    ]


def refuse(findings: Sequence[Finding], engine: str, *, strict: bool) -> None:
    """Refuse what the engine cannot do.

    :raises RefusedError: at least one finding is a refusal; the message has all of them.
    """
    refused = [finding for finding in findings if finding.support is Support.REFUSED]
    if not refused:
        return
    lines = [f"    {_place(finding)}{_key(finding)}: {finding.reason or 'not supported'}" for finding in refused]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"    … and {len(lines) - _MOST_LINES} more"]
    count = "1 key" if len(refused) == 1 else f"{len(refused)} keys"
    raise RefusedError(
        f"the {engine} engine does not do what {count} of the file ask{'s' if len(refused) == 1 else ''} for:\n"
        + "\n".join(lines),
        hint="without --strict, what can be ignored is ignored"
        if strict
        else "take them out, or choose another engine with --engine; `fairlead plan` shows the whole table",
    )


def give_notice(findings: Sequence[Finding]) -> None:
    """Say on stderr what will be ignored, a line each."""
    ignored = [finding for finding in findings if finding.support is Support.IGNORED]
    for finding in ignored[:_MOST_LINES]:
        text = f"{_place(finding)}{_key(finding)} is ignored: {finding.reason}"
        note(f"{paint('notice:', Tone.WARN)} {text}")
    if len(ignored) > _MOST_LINES:
        note(f"{paint('notice:', Tone.WARN)} {len(ignored) - _MOST_LINES} more keys are ignored; see `fairlead plan`")


def print_findings(findings: Sequence[Finding], capabilities: EngineCapabilities, *, everything: bool) -> None:
    """The table: what is refused and ignored; ``everything``: what is honoured too."""
    counts = {support: sum(finding.support is support for finding in findings) for support in Support}
    summary = ", ".join(f"{count} {support}" for support, count in counts.items() if count)
    say(f"what the {capabilities.name} engine makes of the file: {summary or 'nothing to say'}")
    width = max(map(len, Support))
    for finding in findings:
        if everything or finding.support is not Support.HONOURED:
            sign = paint(str(finding.support).ljust(width), _TONES[finding.support])
            say(f"  {sign}  {_place(finding)}{_key(finding)}")
            _say_wrapped(finding.reason, " " * (width + 4))
    for text in capabilities.notices:
        _say_wrapped(text, "  ")


def _say_wrapped(text: str, indent: str) -> None:
    """``text`` in lines that fit the terminal, each behind ``indent``."""
    width = columns() if is_terminal(sys.stdout) else 10_000
    for line in textwrap.wrap(text, max(width - len(indent), 20)):
        say(indent + paint(line, Tone.DIM))


def findings_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "service": finding.service,
            "key": finding.key,
            "support": str(finding.support),
            "reason": finding.reason,
            "file": finding.file,
            "line": finding.line,
            "column": finding.column,
        }
        for finding in findings
    ]


def _key(finding: Finding) -> str:
    return f"services.{finding.service}.{finding.key}"


def _place(finding: Finding) -> str:
    if not finding.line:
        return ""
    file = Path(finding.file)
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{shown}:{finding.line}:{finding.column}: "
