"""Print the settings as a Markdown table, for docs/settings.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.settings import declarations

print("| setting | default | meaning |\n| --- | --- | --- |")
for setting in declarations():
    default = f"`{setting.text}`" if setting.text else ""
    print(f"| `{setting.name}` | {default} | {setting.help.replace('|', chr(92) + '|')} |")
