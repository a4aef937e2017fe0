"""Print the delays of the local AWS as a Markdown table for docs/local-aws.md, refreshed by docs/refresh.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from localaws.delays import DELAYS

print("| what | seconds | documented in |\n| --- | --- | --- |")
for event, delay in DELAYS.items():
    print(f"| {event.replace('-', ' ')} | {delay.seconds:g} | {delay.source} |")
