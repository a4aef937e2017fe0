"""A runbook's steps laid out: as a POSIX shell script that runs, or as a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import runbook
from .recording import NAMES
from .shell import word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .commands import Statement
    from .recording import Recording
    from .runbook import Step
    from .settings import Settings

_WIDTH = 100

_HELPERS = r"""# What went wrong, and the end.
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

say() {
    printf '%s\n' "$*"
}

# Run the command; its answer is in $answer, and empty when AWS says that there is no such thing.
ask() {
    if attributes=$("$@" 2>"$work/error"); then
        return
    fi
    attributes=
    grep -q -e ResourceNotFoundException -e NoSuchEntity "$work/error" || fail "$(cat "$work/error")"
}

# Stop at what stands already and is not this pipeline's: $1 names it, $2 is the value of its tag 'pipeline'.
ours() {
    [ "$2" = "$pipeline_name" ] || fail "$1 stands already and is not tagged pipeline=$pipeline_name; it is left alone"
}

# Run the command, again for a minute while Lambda says that it does not see the role or its policies yet.
retry_while_role_propagates() {
    tries=0
    until "$@" 2>"$work/error"; do
        tries=$((tries + 1))
        [ "$tries" -lt 20 ] || fail "$(cat "$work/error")"
        grep -q -e 'cannot be assumed by Lambda' -e 'execution role does not have permissions' \
            -e 'ensure the role can perform' "$work/error" || fail "$(cat "$work/error")"
        sleep 3
    done
}"""

_JSON_TEXT = r"""

# The text as it stands between the quotes of a JSON string.
json_text() {
    printf '%s\n' "$1" | awk 'NR > 1 { printf "\\n" }
        { gsub(/[\\"]/, "\\\\&"); gsub(/\t/, "\\t"); gsub(/\r/, "\\r"); printf "%s", $0 }'
}"""

_BEGIN = """# A folder for what the commands read, and the account that the credentials are of.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
account_id=$(aws sts get-caller-identity --query Account --output text)

# What `clean` does with a table that holds items: with --delete-data it goes too.
delete_data=DELETE_DATA"""


def script(settings: Settings, recording: Recording) -> str:
    """The runbook as a POSIX shell script that needs the AWS CLI (1 or 2) and credentials, and nothing else."""
    deployment, smoke, removal = runbook.deployment(recording), runbook.smoke(recording), runbook.removal(recording)
    functions = "\n\n".join(
        f"{_comment(f'{step.does} {step.why}')}\n{_name(step)}() {{\n{_laid_out(step.body, 1)}\n}}"
        for step in (*deployment, smoke, removal)
    )
    calls = "\n".join(f'        {_name(step)}\n        say "{step.task}: done"' for step in deployment)
    return f"""#!/bin/sh
# shellcheck disable=SC2016 # what stands in single quotes is meant as it stands
{_comment(_about(settings))}
#
#     sh runbook.sh deploy    build it; what stands already, but for the table, is brought to these settings
#     sh runbook.sh smoke     prove it: an item, seen in the function's log
#     sh runbook.sh clean     remove everything; a table that holds items stays, unless --delete-data follows
#
{_comment(f"Written by `invoke runbook --format sh`. It needs the AWS CLI and credentials{_variables(recording)}.")}
set -eu

{_names(settings)}

{_helpers(recording)}

{functions}

usage() {{
    fail "usage: sh $0 deploy | smoke | clean [--delete-data]"
}}

case ${{1-}} in
    deploy | smoke | clean) ;;
    *) usage ;;
esac

{_BEGIN.replace("DELETE_DATA", "${2-}")}
{_account(settings)}
case $1 in
    deploy)
{calls}
        ;;
    smoke) smoke ;;
    clean)
        clean
        say "clean: nothing is left"
        ;;
esac
"""


def page(settings: Settings, recording: Recording) -> str:
    """The runbook for people, as Markdown: the same commands, what to expect, and what to do when they fail."""
    deployment, smoke, removal = runbook.deployment(recording), runbook.smoke(recording), runbook.removal(recording)
    once = "\n\n".join([_names(settings), _helpers(recording), _BEGIN.replace("DELETE_DATA", "")])
    needs = f"Written by `invoke runbook --format md`. It needs the AWS CLI and credentials{_variables(recording)}."
    repeat = (
        "Every step can be repeated: it looks first, and what stands already, but for the table, is made as it says."
    )
    parts = [
        f"# Runbook: {settings.pipeline_name}",
        f"{_about(settings)} {needs} {repeat}",
        "## Before the first step",
        "Start a shell of its own, `sh`, since a check that fails ends it; then paste this once.",
        _code(f"{once}\n{_account(settings)}".rstrip()),
    ]
    for number, step in enumerate([*deployment, smoke], 1):
        parts += [f"## {number}. {step.does}", *_told(step)]
    back = "A step that failed halfway is repeated, not undone. To go back to earlier settings, follow their runbook."
    return "\n\n".join([*parts, "## Rolling back", f"{back} To remove the pipeline:", *_told(removal)]) + "\n"


def _told(step: Step) -> list[str]:
    return [
        step.why,
        _code(_laid_out(step.body, 0)),
        f"Expect: {step.expect}",
        f"If it fails: {step.trouble}",
        f"The same with this project: `invoke {step.task}`.",
    ]


def _code(text: str) -> str:
    return f"```sh\n{text}\n```"


def _about(settings: Settings) -> str:
    return (
        f"Pipeline {settings.pipeline_name}: an item that is written to the DynamoDB table {settings.table_name} runs "
        f"the Lambda function {settings.function_name}, in {settings.aws_region}."
    )


def _variables(recording: Recording) -> str:
    """The variables that the function is to be given, in words."""
    names = recording.first("CreateFunction").parameters.get("Environment", {}).get("Variables", {})
    return f", and to deploy, in the environment: {', '.join(names)}" if names else ""


def _helpers(recording: Recording) -> str:
    return _HELPERS + (_JSON_TEXT if _variables(recording) else "")


def _names(settings: Settings) -> str:
    names = "\n".join(f"{name}={word(getattr(settings, name))}" for name in NAMES)
    return (
        f"{names}\nAWS_REGION={settings.aws_region}\nAWS_DEFAULT_REGION=$AWS_REGION # for version 1 of the AWS CLI\n"
        "AWS_PAGER=\nexport AWS_REGION AWS_DEFAULT_REGION AWS_PAGER"
    )


def _account(settings: Settings) -> str:
    if settings.target != "aws" or not settings.aws_account_id:
        return ""
    wanted = settings.aws_account_id
    return f'[ "$account_id" = {wanted} ] || fail "the credentials are of $account_id; wanted is {wanted}"\n'


def _name(step: Step) -> str:
    return step.task.replace("-", "_")


def _comment(text: str) -> str:
    lines, line = [], "#"
    for each in text.split():
        if len(line) + 1 + len(each) > _WIDTH:
            lines.append(line)
            line = "#"
        line += f" {each}"
    return "\n".join([*lines, line])


def _laid_out(statements: Sequence[Statement], depth: int) -> str:
    """Statements as lines. Only where one begins it is indented: what is quoted in it stays as it is."""
    lines = []
    for deeper, said in statements:
        indent = "    " * (depth + deeper)
        words = [said] if isinstance(said, str) else said
        short = len(" ".join(words)) + len(indent) <= _WIDTH
        lines.append(indent + (" " if short else f" \\\n{indent}    ").join(words))
    return "\n".join(lines)
