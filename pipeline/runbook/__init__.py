"""`invoke runbook`: fill in runbook.sh for the settings, as a script or a page.

The values are the parameters that the steps send, in the form of `invoke --echo`. This module does not call AWS.
"""

import base64
import difflib
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel

from pipeline import archive, echo, items, parameters, policies, role_check, smoke, steps
from pipeline.echo import double_quoted, json_text, quote, shell_var
from pipeline.resources.change import UserError, record
from pipeline.resources.role import POLICIES_TAG, expand_accounts
from pipeline.settings import Settings

_FOLDER = Path(__file__).parent
# The settings that become variables of the script wherever they occur, including in ARNs and documents.
_NAMES = ("pipeline_name", "table_name", "role_name", "function_name")
_QUOTED = ("aws_region", "stream_view_type", "function_alias", "function_versions_kept", "table_arn", "role_arn")
_OF_THE_SHELL = {
    "AWS_PAGER", "ENV", "HOME", "IFS", "OPTARG", "OPTIND", "PATH", "PPID", "PS1", "PS2", "PS4", "PWD", "SHELLOPTS",
    "TMPDIR", "UID",
}  # fmt: skip
_EMBEDDED_BYTES = 1024 * 1024  # a larger zip is a file beside the script or the tasks
_WIDTH = 120

# The place of a parameter in AWS's response, and the parameters that a query does not compare.
_PLACES = {
    "Layers": "Layers[].Arn",
    "ManagedPolicyArns": "AttachedPolicies[].PolicyArn",
    "PermissionsBoundary": "PermissionsBoundary.PermissionsBoundaryArn",
}
_KEPT = {"AssumeRolePolicyDocument", "AttributeDefinitions", "ProvisionedThroughput", "StartingPosition", "Tags"}

_PLACEHOLDER = re.compile(r"(?<!\$)@([a-z0-9_]+)")
_COMMAND = re.compile(r"\baws (\S+) (\S+) ")
_QUERY = re.compile(r"--query=([\w.[\]]*)$")
_STEP = re.compile(
    r"((?:^# [^\n]*\n)+)^(\w+)\(\) \{\n(.*?)^\}(?:\n\nverify_\w+\(\) \{\n(.*?)^\})?", re.MULTILINE | re.DOTALL
)
_CONDITION = re.compile(r"^ *#@if (not )?(\w+)\n((?:(?! *#@(?:if|end)).*\n)*) *#@end\n", re.MULTILINE)  # an inner one
_ANSWER = re.compile(r"<!-- output of: [^\n]* (\S+) -->\n(```text\n.*?```)\n", re.DOTALL)


def script(settings: Settings, root: Path) -> str:
    """The POSIX shell script. `root` is the project's folder."""
    return _fill(template("runbook.sh", vars(settings)), _values(settings, root))


def page(settings: Settings, root: Path) -> str:
    """The Markdown page, with the commands of the script."""
    values, shell = _values(settings, root), template("runbook.sh", vars(settings))
    preparation, _, rest = shell.partition("set -eu\n\n")[2].partition("# --- Steps ---\n")
    steps, operation, _ = re.split("# --- (?:Day two|Parts) ---\n", rest)
    recorded = template("answers.md", vars(settings))
    recorded = re.sub(r"the-(pipeline|table|role|function)", lambda of: getattr(settings, f"{of[1]}_name"), recorded)
    answers = dict(_ANSWER.findall(recorded))
    forward = [_section(step, values, answers) for step in _STEP.findall(steps)]
    *others, clean = [_section(step, values, answers) for step in _STEP.findall(operation)]
    text = Template(template("runbook.md", vars(settings))).substitute(
        {name: getattr(settings, name) for name in (*_NAMES, "aws_region")},
        needs=values["needs"],
        preparation=_fill(preparation, values) + "prepare",
        steps="\n\n".join(f"## {number}. {section}" for number, section in enumerate(forward, 1)),
        operation="\n\n".join(f"## {section}" for section in others),
        clean=f"## Roll back: {clean}",
    )
    return text.replace("`invoke smoke`", "`invoke smoke --observe`") if settings.table_arn else text


def compare(path: Path, current: str, command: str) -> None:
    """Raise UserError with the first lines in which the file differs from `current`, which `command` prints."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    changes = [line for line in difflib.unified_diff(lines, current.splitlines(), n=0) if line[0] in "+-"][2:]
    if changes:
        listed = "\n  ".join(changes[:12])
        raise UserError(f"{path} is out of date; write it again: {command} > {path}\nChanges (+: new):\n  {listed}")


def template(name: str, values: Mapping[str, Any]) -> str:
    """The template without its comments (`#@ ...`) and without parts whose values are empty (`#@if NAME`)."""
    text = (_FOLDER / name).read_text(encoding="utf-8")
    while _CONDITION.search(text):
        text = _CONDITION.sub(lambda match: match[3] if bool(values[match[2]]) != bool(match[1]) else "", text)
    return re.sub(r"^#@.*\n", "", text, flags=re.MULTILINE)


def _section(step: tuple[str, str, str, str], values: Mapping[str, Any], answers: Mapping[str, str]) -> str:
    """A step of the page: the comment of its shell function as prose, the commands, and an example output."""
    comment, function, body, verification = step
    name = function.replace("_", "-")
    title, _, text = comment.replace("# ", "").rstrip().partition("\n")
    reason, *notes = re.sub(r"\n(?!Expect:|If it fails:|Undo:)", " ", text).splitlines()
    commands = _fill(re.sub("^    ", "", body + verification, flags=re.MULTILINE), values)
    notes.insert(1, answers[name])
    notes.append(f"With this project: `invoke {name}`.")
    return "\n\n".join([title, reason, f"```sh\n{commands}```", *notes])


def common_values(settings: Settings, named: Settings, root: Path, account_id: str) -> dict[str, Any]:
    """The values that the script and the tasks share. In `named`, names are variables, as is `account_id`."""
    partition = botocore.session.Session().get_partition_for_region(settings.aws_region)
    tokens = parameters.policy_tokens(named, f"arn:{partition}:iam::{account_id}:root")
    key_arn = _key_arn(settings, f"arn:{partition}:kms:{named.aws_region}:{account_id}:key/")
    documents = policies.inline_policies(named, root, lambda: tokens, key_arn=key_arn, write=False)
    code = steps.build_zip(settings, root)
    with_keys = (bool(key_arn), True)
    own_policies, with_key = (policies.inline_policy_names(settings, root, with_key=each) for each in with_keys)
    return {
        "partition": partition,
        "aws_account_id": settings.aws_account_id if settings.target == "aws" else "",
        "table": parameters.table(named),
        "role": parameters.role(named, {}),
        "function": parameters.function(named, "", code),
        "mapping": parameters.mapping(named, ""),
        "log_group": parameters.log_group(named),
        "alarms": parameters.alarms(named),
        # As IAM stores it, for the script's comparison.
        "trust_policy": expand_accounts(
            policies.trust_policy(root, lambda: tokens, write=False), partition, account_id
        ),
        "policies": documents,
        "permissions": role_check.simulations(documents, named.aws_region)[0],
        "policies_tag": record(own_policies, POLICIES_TAG)[POLICIES_TAG],
        "policies_tag_with_key": record(with_key, POLICIES_TAG)[POLICIES_TAG],
        "code_sha256": archive.sha256(code),
        "zip": textwrap.wrap(base64.b64encode(code).decode(), 100) if len(code) <= _EMBEDDED_BYTES else [],
        "smoke_item": smoke.extra_attributes(settings),
    }


def _key_arn(settings: Settings, prefix: str) -> str:
    """The ARN of the customer managed key in TABLE_OPTIONS, or "". `prefix` is what precedes the ID in an ARN."""
    key = str(settings.table_options.get("SSESpecification", {}).get("KMSMasterKeyId", ""))
    if not key or key.endswith("alias/aws/dynamodb"):
        return ""
    if "alias/" in key:
        raise UserError(f"TABLE_OPTIONS: KMSMasterKeyId {key!r}: the runbook needs the ID or the ARN of the key")
    return key if key.startswith("arn:") else prefix + key


def _values(settings: Settings, root: Path) -> dict[str, Any]:
    """The value of each placeholder in the template: text, lines of shell, or parameters for a command."""
    taken = _OF_THE_SHELL | set(re.findall(r"\$\{?(\w+)", template("runbook.sh", vars(settings))))
    if both := sorted(taken & settings.function_environment.keys()):
        reason = "which reads the function's variables from its environment; rename the variable"
        raise UserError(f"FUNCTION_ENVIRONMENT: {both[0]!r} is a variable of the runbook's script too, {reason}")
    chosen: dict[str, Any] = {name: shell_var(f"${name}") for name in _NAMES}
    chosen["aws_region"] = shell_var("$AWS_REGION")
    variables = list(settings.function_environment)
    chosen["function_environment"] = {name: shell_var(f'$(json_text "${name}")') for name in variables}
    named = replace(settings, **chosen)
    values = common_values(settings, named, root, shell_var("$account_id"))
    table, role, function = values["table"], values["role"], values["function"]
    if not settings.table_point_in_time_recovery_enabled:
        del table["PointInTimeRecoverySpecification"]
    if not settings.role_permissions_boundary:
        del role["PermissionsBoundary"]
    code = function["Code"]
    place = quote(f"s3://{code['S3Bucket']}/{code['S3Key']}") if "S3Bucket" in code else ""
    # The members of Code are parameters of UpdateFunctionCode, and CreateFunction's zip is a separate argument.
    ours = {"Role": shell_var("$role_arn"), "CodeSha256": shell_var("$code_sha256")}
    mapping = {**values["mapping"], "EventSourceArn": shell_var("$stream_arn")}
    mapping["State"] = "Enabled" if settings.mapping_enabled else "Disabled"
    lambda_arn = f"arn:{values['partition']}:lambda:{shell_var('$AWS_REGION')}:{shell_var('$account_id')}:function"
    mapping["FunctionArn"] = f"{lambda_arn}:{mapping['FunctionName']}"
    return {
        **values,
        **_alarm_values(values["alarms"]),
        **{name: quote(str(getattr(settings, name))) for name in (*_NAMES, *_QUOTED)},
        "log_group_name": quote(parameters.log_group_name(named)),
        "key_type": table["AttributeDefinitions"][0]["AttributeType"],
        "code_sha256": quote(values["code_sha256"]),
        "upload_code": [f'aws s3 cp "$work/function.zip" {place}'] if place else [],
        "expected_account": quote(values["aws_account_id"]),
        "needs": f", and to deploy, the function's variables: {', '.join(variables)}" if variables else "",
        "require_variables": [f': "${{{name}?set this variable of the function}}"' for name in variables],
        "trust_policy": _document(values["trust_policy"]),
        "write_inline_policies": [
            f"cat >{quote(shell_var('$work') + f'/inline-{name}.json')} <<JSON\n{_document(document)}\nJSON"
            for name, document in values["policies"].items()
        ],
        "inline_policies": [{"PolicyName": name} for name in values["policies"]],
        "policy_names": [quote(name) for name in values["policies"]],
        "managed_policies": [{"PolicyArn": arn} for arn in role["ManagedPolicyArns"]],
        "function": {**code, **function, **ours},
        "new_mapping": mapping,
        "mapping": {"DestinationConfig": {"OnFailure": {"Destination": ""}}, "FilterCriteria": {}, **mapping},
        "tag_list": {"Tags": parameters.tag_list(parameters.tags(named))},
        "item": _smoke_item(table, values["smoke_item"]),
    }


def _alarm_values(alarms: list[dict[str, Any]]) -> dict[str, Any]:
    names = [alarm["AlarmName"] for alarm in alarms]
    describe_alarms = _operations("cloudwatch")["describe-alarms"]
    queries = [_differences(describe_alarms, "MetricAlarms[0].", alarm) for alarm in alarms]
    return {
        "alarm_names": [quote(name) for name in names],
        "all_alarms": {"AlarmNames": names},
        "alarms_tag": {"Tags": {parameters.ALARMS_TAG: " ".join(names)}},
        "verify_alarms": [f"verify_alarm {quote(n)} {quote(q)}" for n, q in zip(names, queries, strict=True)],
    }


def _smoke_item(table: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of PutItem and DeleteItem: a new key, and a number so that each put changes the item."""
    unique = {"S": "$marker", "N": "$number", "B": "$encoded"}
    hash_key, *_ = kinds = items.key_types(table)
    new = {name: {kind: shell_var(unique[kind])} for name, kind in kinds.items()}
    marks = {"smoke": {"S": shell_var("$marker")}, "smoke_attempt": {"N": shell_var("$tries")}}
    item = {**marks, **new, **extra, hash_key: new[hash_key]}
    return {"Item": item, "Key": {name: item[name] for name in kinds}}


def _document(document: Mapping[str, Any]) -> str:
    return double_quoted(json.dumps(document, indent=2, ensure_ascii=False).replace("`", "\\u0060"))


def _fill(template: str, values: Mapping[str, Any]) -> str:
    return "".join(f"{line}\n" for each in template.splitlines() for line in _filled(each, values))


def _filled(line: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The lines that a line of the template becomes: none, one, or several."""
    if not (match := _PLACEHOLDER.search(line)):
        yield line
        return
    value = values[match[1]]
    before, after = line[: match.start()], line[match.end() :]
    if isinstance(value, str):
        yield before + value + after
    elif (command := _COMMAND.search(before)) and (path := _QUERY.search(before)):
        if query := _differences(_operations(command[1])[command[2]], path[1], value):
            yield before[: path.start(1)] + quote(query) + after
    elif command:
        for each in value if isinstance(value, list) else [value]:
            if arguments := _arguments(command[1], command[2], each, before):
                yield _laid_out(before, arguments, after)
    else:
        yield from (before + each + after for each in value)


def _arguments(service: str, command: str, values: Mapping[str, Any], line: str) -> list[str]:
    """The arguments for the parameters that the command accepts and the line does not contain yet."""
    operation = _operations(service)[command]
    members: Any = operation.input_shape
    taken = {
        name: value
        for name, value in values.items()
        if name in members.members and value is not None and not re.search(f"--{xform_name(name, '-')}[= ]", line)
    }
    zip_file = f"fileb://{shell_var('$work')}/function.zip"
    return echo.command(echo.Call(operation, taken), lambda value: zip_file if isinstance(value, bytes) else None)[1:]


def _differences(operation: OperationModel, path: str, values: Mapping[str, Any]) -> str:
    """A JMESPath query at `path` of the response that returns `found` and the names of the values that differ."""
    shape: Any = operation.output_shape
    for name in re.findall(r"[A-Za-z]\w*", path):
        shape = getattr(shape.members[name], "member", shape.members[name])  # of a list
    places = {_PLACES.get(name, name): each for name, each in values.items() if each is not None and name not in _KEPT}
    known = {place: each for place, each in places.items() if re.split(r"\W", place)[0] in shape.members}
    conditions = ",\n        ".join(line for place, each in known.items() for line in _conditions(place, each))
    return conditions and f'{path}[\n        `"found"`,\n        {conditions}\n    ][?@ != `true`]'


def _conditions(path: str, value: Any) -> Iterator[str]:
    """JMESPath expressions that are true, or `path` if AWS's value differs. AWS may omit an empty value."""
    literal = json_text(value).replace("`", "\\u0060")
    if isinstance(value, dict) and value and path != "Environment.Variables":
        for name, each in value.items():
            yield from _conditions(f"{path}.{name}", each)
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield f'sort({path} || `[]`) == `{json_text(sorted(value))}` || `"{path}"`'
    else:
        yield f'{path if value else f"({path} || `{literal}`)"} == `{literal}` || `"{path}"`'


@cache
def _operations(service: str) -> dict[str, OperationModel]:
    model = botocore.session.Session().get_service_model(service)
    return {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}


def _laid_out(before: str, arguments: list[str], after: str) -> str:
    short = before + " ".join(arguments) + after
    if len(short) <= _WIDTH:
        return short
    indent = " " * (len(before) - len(before.lstrip()) + 4)
    return f" \\\n{indent}".join([before.rstrip(), *arguments]) + after
