"""The memory of a function's process and its children, which Lambda limits and REPORT shows."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# How often to measure. On Linux, it takes 0.1 ms.
MEASURE_SECONDS = 0.05 if sys.platform == "linux" else 0.25


def used(process_id: int) -> int:
    """The peak of the process, or what it holds now together with its children, in MB; 0 after it has exited.

    Pages that several of them share count once (proc(5), "Pss"). macOS reports neither peaks nor shared pages.
    """
    if sys.platform != "linux":
        return _resident_size_of_group(process_id)
    peak = _kilobytes(process_id, "status", "VmHWM:")
    children = _descendants(process_id)
    held = sum(_kilobytes(each, "smaps_rollup", "Pss:") for each in (process_id, *children)) if children else 0
    return max(peak, held) // 1024


def _kilobytes(process_id: int, file: str, name: str) -> int:
    with suppress(OSError):  # it may exit meanwhile
        _, found, rest = Path(f"/proc/{process_id}/{file}").read_text().partition(name)
        return int(rest.split()[0]) if found else 0
    return 0


def _descendants(process_id: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{process_id}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _resident_size_of_group(group: int) -> int:
    ps = subprocess.run(["/bin/ps", "-A", "-o", "pgid=,rss="], capture_output=True, text=True, check=False)
    sizes = (line.split() for line in ps.stdout.splitlines())
    return sum(int(size) for its_group, size in sizes if its_group == str(group)) // 1024
