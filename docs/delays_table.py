"""Print what is late, and by how much, as a Markdown table for docs/local-aws.md, refreshed by docs/refresh.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from localaws.delays import TABLE

print("| what | seconds |\n| --- | --- |")
for event, seconds in TABLE.items():
    print(f"| {event.replace('-', ' ')} | {seconds:g} |")
