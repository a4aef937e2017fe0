"""Invocations as text: errors in red, indented JSON, and a summary of the reports."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from .log_reader import FAILURE, Invocation

# Of a report, in the text and in the JSON log format.
_DURATION = re.compile(r'\tDuration: ([\d.]+) ms|"durationMs": ?([\d.]+)')
_MEMORY = re.compile(r'Max Memory Used: (\d+) MB|"maxMemoryUsedMB": ?(\d+)')
_COLD = re.compile(r'\tInit Duration: |"initDurationMs"')
_FAILED = re.compile(r'\tStatus: (?!success)|"status": ?"(?!success)')
# Of a line that the function logs.
_ERROR = re.compile(r'\[(ERROR|CRITICAL)\]|"level": ?"(ERROR|CRITICAL|FATAL)"')


def text(invocation: Invocation, *, pretty: bool = False, color: bool = False) -> str:
    """The lines of an invocation. With `pretty`, JSON is indented; with `color`, errors and timeouts are red."""
    continues = not any(invocation.request_id in line for line in invocation.lines)
    shown = [f"RequestId: {invocation.request_id} continues"] if continues else []
    for line in invocation.lines:
        shown_line = _indented(line) if pretty else line
        shown.append(f"\x1b[31m{shown_line}\x1b[0m" if color and _is_error(line, invocation) else shown_line)
    return "\n".join(shown)


def _is_error(line: str, invocation: Invocation) -> bool:
    failed = line == invocation.report and _FAILED.search(line)
    return bool(failed or FAILURE.search(line) or _ERROR.search(line))


def _indented(line: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict | list) else line


@dataclass
class Summary:
    """A summary of the reports of many invocations. Its size does not grow with their number."""

    failed: int = 0
    cold_starts: int = 0
    memory_mb: int = 0
    durations: Counter[float] = field(default_factory=Counter)  # in ms

    def add(self, invocation: Invocation) -> None:
        """Count an invocation, or a part of one."""
        report = invocation.report
        self.failed += bool(invocation.failure or _FAILED.search(report))
        self.cold_starts += bool(_COLD.search(report))
        if memory := _MEMORY.search(report):
            self.memory_mb = max(self.memory_mb, int(memory[1] or memory[2]))
        if duration := _DURATION.search(report):
            self.durations[float(f"{float(duration[1] or duration[2]):.3g}")] += 1  # few different ones

    def __str__(self) -> str:
        total = self.durations.total()
        text = f"invocations: {total}, failed: {self.failed}, cold starts: {self.cold_starts}"
        faster = 0
        for median in sorted(self.durations):
            faster += self.durations[median]
            if 2 * faster >= total:
                duration = f"duration: p50 {median:.10g} ms, max {max(self.durations):.10g} ms"
                return f"{text}; {duration}; memory used: at most {self.memory_mb} MB"
        return text
