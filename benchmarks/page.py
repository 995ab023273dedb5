"""README.md of this folder, section by section, so that each benchmark writes its own and leaves the others alone."""

import datetime
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).with_name("README.md")
TITLE = """# Benchmarks

Written by `make bench`; not by hand. Figures of different machines cannot be compared, and on a busy machine not even
those of different minutes: every comparison here was made in one run, in turns, and is a median.
"""


def write_section(name: str, text: str) -> None:
    """Replace the section ``name``, or append it."""
    page = PAGE.read_text() if PAGE.exists() else TITLE
    section = f"<!-- {name} -->\n{text.strip()}\n<!-- end of {name} -->"
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- end of {name} -->", re.DOTALL)
    replaced, times = pattern.subn(lambda _: section, page)
    PAGE.write_text(replaced if times else f"{page.rstrip()}\n\n{section}\n")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """One line: date, processor, cores, memory, system; nothing that names the machine or its owner."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    parts = [
        datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        _processor(),
        f"{os.cpu_count()} cores",
        f"{memory_gb:.0f} GB",
        f"Linux {platform.release().split('-')[0]}",
        f"Python {platform.python_version()}",
    ]
    return ", ".join(parts)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.machine()
