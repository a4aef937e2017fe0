"""Print the settings as a Markdown table: docs/settings.md shows it, refreshed by docs/refresh.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.settings import declarations

print("| setting | default | meaning |\n| --- | --- | --- |")
for setting in declarations():
    default = f"`{setting.default}`" if setting.default else ""
    print(f"| `{setting.name}` | {default} | {setting.told.replace('|', chr(92) + '|')} |")
