"""Print the settings of .env.example as Markdown tables, one for each of its sections, for docs/settings.md."""

from __future__ import annotations

from pathlib import Path

comment: list[str] = []
for line in (Path(__file__).resolve().parents[1] / ".env.example").read_text(encoding="utf-8").splitlines():
    name, separator, default = line.partition("=")
    if line.startswith("# ---"):
        print(f"\n### {line.strip('# -')}\n\n| Setting | Default | Meaning |\n| --- | --- | --- |")
    elif line.startswith("# "):
        comment.append(line.removeprefix("# "))
    elif not line:
        comment.clear()
    elif separator:
        meaning = " ".join(comment).replace("|", "\\|")
        print(f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |")
