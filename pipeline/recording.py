"""A deployment and its removal, recorded call by call, with shell variables where names and identifiers were."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import chains, cleaning, items, session, smoke, steps
from .resources.change import UserError
from .shell import expansion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .resources.change import Change
    from .echo import Call
    from .settings import Settings

# What the recorded pipeline is called, so that names can be told from other texts wherever they turn up in a call.
_STANDS_FOR = "runbook-{}-5f3759df"
NAMES = ("pipeline_name", "table_name", "role_name", "policy_name", "function_name")

# What a function's variable cannot be called, since its value is taken from the shell's variable of the same name.
_OWN = {
    *NAMES, "account_id", "answer", "delete_data", "encoded", "function_owner", "line", "mapping_uuid", "marker",
    "number", "role_arn", "started", "stream_arn", "tries", "work", "ENV", "HOME", "IFS", "OPTARG", "OPTIND", "PATH",
    "PPID", "PS1", "PS2", "PS4", "PWD", "SHELLOPTS", "TMPDIR", "UID",
}  # fmt: skip

_EMPTY_ZIP = b"PK\5\6" + bytes(18)
_ALLOW_ALL = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'


@dataclass(frozen=True)
class Recording:
    """The calls of each step by the step's task, the zip, and the policy documents by the names of their files."""

    steps: Mapping[str, list[Call]]
    code: bytes
    documents: Mapping[str, Any]

    def first(self, operation: str) -> Call:
        """The first recorded call of this name, such as "CreateTable"."""
        return next(call for calls in self.steps.values() for call in calls if call.model.name == operation)


def record(settings: Settings, endpoint: str, root: Path) -> Recording:
    """Deploy and clean for these settings on an empty AWS at `endpoint`, one step after the other.

    The function is never run. `root` is the project's folder: the code is zipped there.
    """
    calls: list[Call] = []
    _, code = steps.zip_code(settings, root)
    named, variables = _stand_ins(settings)
    named, existing = _made_to_exist(named, session.connect(named, endpoint))
    aws = session.connect(named, endpoint, echo=calls.append)
    planning = session.connect(named, endpoint, dry=True, echo=calls.append)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(root / "policies", Path(folder) / "policies")
        run = steps.Run(named, aws, Path(folder))
        recorded, found = _walked(run, planning("dynamodb"), code, calls)
        account = run.caller["Account"]
        sent = (Path(folder) / "build" / "policies").glob("*.json")
        documents = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(sent)}
    variables |= found
    here, there = expansion("$AWS_REGION"), expansion("$account_id")
    texts = {
        **existing,
        **{text: expansion(variables[text]) for text in sorted(variables, key=len, reverse=True)},
        f":{named.aws_region}:{account}:": f":{here}:{there}:",
        f"::{account}:": f"::{there}:",
    }
    return Recording(
        {
            step: [replace(call, parameters=_with(texts, call.parameters), region="") for call in made]
            for step, made in recorded.items()
        },
        code,
        {name: _with(texts, document) for name, document in documents.items()},
    )


def _walked(
    run: steps.Run, planning: Any, code: bytes, calls: list[Call]
) -> tuple[dict[str, list[Call]], dict[str, str]]:
    """All steps, one after the other: the calls of each, out of `calls`; and the variables that hold what AWS made."""
    recorded: dict[str, list[Call]] = {}
    changes: list[Change] = []

    def done(step: str) -> None:
        recorded[step] = calls[:]
        calls.clear()

    role_arn = chains.create_role(run, changes.append)
    done("create-role")
    chains.put_policy(run, role_arn, changes.append)
    done("put-policy")
    chains.create_function(run, role_arn, code, changes.append)
    done("create-function")
    chains.create_table(run, changes.append)
    table = steps.existing_table(run)
    done("create-table")
    stream_arn = str(table["LatestStreamArn"])
    chains.map_stream(run, stream_arn, changes.append)
    done("map-stream")
    made = _smoke(planning, run.settings, table)
    done("smoke")
    uuid = str(changes[-1].answer["UUID"])
    list(cleaning.clean(run, delete_data=True))
    done("clean")
    return recorded, {**made, role_arn: "$role_arn", stream_arn: "$stream_arn", uuid: "$mapping_uuid"}


def _made_to_exist(settings: Settings, aws: Any) -> tuple[Settings, dict[str, str]]:
    """The settings with a layer or policy made on this AWS for each that they name, and which one stands for which."""
    named: dict[str, str] = {}

    def layer(arn: str) -> str:
        name = _STANDS_FOR.format(f"layer-{len(named)}")
        made: str = aws("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": _EMPTY_ZIP})[
            "LayerVersionArn"
        ]
        named[made] = arn
        return made

    def policy(arn: str) -> str:
        name = _STANDS_FOR.format(f"policy-{len(named)}")
        made: str = aws("iam").create_policy(PolicyName=name, PolicyDocument=_ALLOW_ALL)["Policy"]["Arn"]
        named[made] = arn
        return made

    boundary = settings.role_permissions_boundary
    made = replace(
        settings,
        function_layers=tuple(map(layer, settings.function_layers)),
        role_managed_policy_arns=tuple(map(policy, settings.role_managed_policy_arns)),
        role_permissions_boundary=policy(boundary) if boundary else "",
    )
    return made, named


def _stand_ins(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """The settings with names that stand for variables, and these variables; a function's variables likewise."""
    if taken := sorted(_OWN & settings.function_environment.keys()):
        raise UserError(
            f"FUNCTION_ENVIRONMENT: {taken[0]!r} is a name that the runbook's shell uses itself; its commands take the "
            f"function's variables from the shell's. Choose another name for the runbook."
        )
    names = {name: _STANDS_FOR.format(name.replace("_", "-")) for name in NAMES}
    secrets = {name: _STANDS_FOR.format(f"{number}-value") for number, name in enumerate(settings.function_environment)}
    variables = {text: f"${name}" for name, text in names.items()}
    variables |= {text: f'$(json_text "${name}")' for name, text in secrets.items()}
    chosen: dict[str, Any] = {**names, "function_environment": secrets, "target": "local"}
    return replace(settings, **chosen), variables


def _smoke(planning: Any, settings: Settings, table: Mapping[str, Any]) -> dict[str, str]:
    """Plan the writes of smoke, so that the function is not run; the variables of its item."""
    extra = items.parse(json.dumps(settings.smoke_item), "SMOKE_ITEM") if settings.smoke_item else {}
    item, _ = smoke.new_item(table, extra)
    planning.put_item(TableName=table["TableName"], Item=item)
    planning.delete_item(TableName=table["TableName"], Key={name: item[name] for name in items.key_names(table)})
    values = [next(iter(item[name].items())) for name in items.key_names(table)]
    numbers = {value: "$number" for kind, value in values if kind == "N"}
    return {item["smoke"]["S"]: "$marker", **numbers}


def _with(texts: Mapping[str, str], value: Any) -> Any:
    """The value with these texts replaced in all strings of it, longest first."""
    if isinstance(value, dict):
        return {_with(texts, name): _with(texts, each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with(texts, each) for each in value]
    if isinstance(value, bytes) and value.decode(errors="replace") in texts:
        return expansion("$encoded")  # smoke's key, of type B: the AWS CLI takes base64
    if isinstance(value, str):
        for text, variable in texts.items():
            value = value.replace(text, variable)
    return value
