"""A recorded deployment as the procedure that an operator follows: steps of shell commands, each with its reason.

The `aws` commands come from the recording; what stands here is the shell between them: look, create or update, wait.
`runbook_text.py` lays the steps out as a script or as a page.
"""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import archive
from .resources.change import OWNER_TAG
from .commands import Commands, deeper, either
from .shell import double_quoted, expansion, word

if TYPE_CHECKING:
    from .commands import Statement
    from .echo import Call
    from .recording import Recording

# A zip above this size is a file beside the script instead of a text within it.
_EMBEDDED_BYTES = 1024 * 1024
_OWNER_IN_LIST = f"[?Key=='{OWNER_TAG}'].Value | [0] || '-'"
_OWNER_IN_MAP = f".{OWNER_TAG} || '-'"


@dataclass(frozen=True)
class Step:
    """One step for an operator; `task` is the invoke task that does the same."""

    task: str
    does: str
    why: str
    body: list[Statement]
    expect: str
    trouble: str


def deployment(recording: Recording) -> list[Step]:
    """The steps that build the pipeline, or bring what stands to the same settings."""
    made = Commands(recording)
    return [_create_role(made), _put_policy(made), _create_function(made), _create_table(made), _map_stream(made)]


def _create_role(made: Commands) -> Step:
    create, look = made.recording.first("CreateRole"), made.recording.first("GetRole")
    trust = create.parameters["AssumeRolePolicyDocument"]
    updates = [made.like(create, name) for name in ("UpdateRole", "PutRolePermissionsBoundary")]
    body = [
        made.write(trust),
        *either(
            made.ask(look, f"Role.Tags{_OWNER_IN_LIST}"),
            [
                (0, 'ours "role $role_name" "$answer"'),
                made.of(made.like(create, "UpdateAssumeRolePolicy", PolicyDocument=trust)),
                *(made.of(update, quiet=True) for update in updates if len(update.parameters) > 1),
                made.of(made.like(create, "TagRole")),
            ],
            [made.of(create, quiet=True)],
        ),
        *made.repeated("create-role", "iam"),
        (0, f"role_arn=$({made.answer(look, 'Role.Arn')})"),
    ]
    return Step(
        "create-role",
        "Create the role that the function runs as.",
        "Lambda assumes it to read the stream and to write the log; its trust policy lets nobody else do so.",
        body,
        "`aws iam get-role` shows the role and its trust policy.",
        "AccessDenied: whoever runs this needs iam:GetRole, CreateRole, TagRole and UpdateAssumeRolePolicy.",
    )


def _put_policy(made: Commands) -> Step:
    puts = [call for call in made.recording.steps["put-policy"] if call.model.name == "PutRolePolicy"]
    return Step(
        "put-policy",
        "Say what the role may do.",
        "With the documents as they are in the project: read this table's stream, and write this function's log.",
        [statement for put in puts for statement in (made.write(put.parameters["PolicyDocument"]), made.of(put))],
        "`aws iam get-role-policy` shows the document.",
        "MalformedPolicyDocument: IAM names the statement. A function that is denied something says so in its log.",
    )


def _create_function(made: Commands) -> Step:
    variables = made.recording.first("CreateFunction").parameters.get("Environment", {}).get("Variables", {})
    needed: list[Statement] = [
        (0, f': "${{{name}?set {name} to what the function is to find in it}}"') for name in variables
    ]
    return Step(
        "create-function",
        "Create the function with its code, and its log group.",
        "The log group comes first, with the days that its lines are kept: one that Lambda makes by itself keeps them "
        "for ever. A new role takes seconds to reach Lambda, so creating is tried again for a minute.",
        [*needed, *_log_group(made), _zip(made.recording.code), *_function(made)],
        "`aws lambda get-function` shows State Active and LastUpdateStatus Successful.",
        "`cannot be assumed by Lambda` after a minute: look at the role's trust policy. "
        "`An update is in progress`: wait, and run it again.",
    )


def _log_group(made: Commands) -> list[Statement]:
    create = made.recording.first("CreateLogGroup")
    return [
        *either(_look_for_group(made), _ours_group(made), [made.of(create)]),
        *made.repeated("create-function", "logs"),
    ]


def _look_for_group(made: Commands) -> Statement:
    look, create = made.recording.first("DescribeLogGroups"), made.recording.first("CreateLogGroup")
    return made.ask(look, f"logGroups[?logGroupName=='{create.parameters['logGroupName']}'].arn")


def _ours_group(made: Commands) -> list[Statement]:
    name = made.recording.first("CreateLogGroup").parameters["logGroupName"]
    return [
        made.ask(made.recording.first("ListTagsForResource"), f"tags{_OWNER_IN_MAP}"),
        (0, f'ours "log group {double_quoted(name)}" "$answer"'),
    ]


def _zip(code: bytes) -> Statement:
    if len(code) > _EMBEDDED_BYTES:
        return 0, 'cp "${FUNCTION_ZIP:?set it to the path of build/function.zip}" "$work/function.zip"'
    lines = "\n".join(textwrap.wrap(base64.b64encode(code).decode(), 100))
    return 0, f"base64 --decode >\"$work/function.zip\" <<'ZIP'\n{lines}\nZIP"


def _function(made: Commands) -> list[Statement]:
    create, look = made.recording.first("CreateFunction"), made.recording.first("GetFunction")
    code = made.like(create, "UpdateFunctionCode", ZipFile=made.recording.code)
    settled = made.wait(next(call for call in made.recording.steps["create-function"] if call.waiter))
    return [
        *either(
            made.ask(look, f"Tags{_OWNER_IN_MAP}"),
            [
                (0, 'ours "function $function_name" "$answer"'),
                made.ask(look, "Configuration.CodeSha256"),
                (0, f'if [ "$answer" != {word(archive.sha256(made.recording.code))} ]; then'),
                made.of(code, 1, quiet=True),
                (0, "fi"),
                *settled,
                made.of(
                    made.like(create, "UpdateFunctionConfiguration"), before="retry_while_role_propagates ", quiet=True
                ),
                made.ask(look, "Configuration.FunctionArn"),
                made.of(made.like(create, "TagResource", Resource=expansion("$answer"))),
            ],
            [made.of(create, before="retry_while_role_propagates ", quiet=True)],
        ),
        *settled,
        *made.repeated("create-function", "lambda"),
    ]


def _create_table(made: Commands) -> Step:
    create, look = made.recording.first("CreateTable"), made.recording.first("DescribeTable")
    view = create.parameters["StreamSpecification"]["StreamViewType"]
    active = next(call for call in made.recording.steps["create-table"] if call.waiter)
    body = [
        *either(
            made.ask(look, "Table.StreamSpecification.StreamViewType || '-'"),
            [
                (0, f'[ "$answer" = {view} ] ||'),
                (
                    1,
                    f'fail "table $table_name has a stream of view type $answer; for {view} turn it off and on again"',
                ),
                *_ours_table(made),
            ],
            [made.of(create, quiet=True)],
        ),
        *made.wait(active),
        *made.repeated("create-table", "dynamodb"),
        (0, f"stream_arn=$({made.answer(look, 'Table.LatestStreamArn')})"),
    ]
    return Step(
        "create-table",
        "Create the table with its stream on.",
        "A table that stands already keeps its keys, its indexes and its capacity.",
        body,
        "`aws dynamodb describe-table` shows TableStatus ACTIVE and a LatestStreamArn.",
        "ResourceInUseException: the table is being changed or deleted; wait, and run it again.",
    )


def _ours_table(made: Commands) -> list[Statement]:
    return [
        made.ask(made.recording.first("ListTagsOfResource"), f"Tags{_OWNER_IN_LIST}"),
        (0, 'ours "table $table_name" "$answer"'),
    ]


def _map_stream(made: Commands) -> Step:
    create, look = (made.recording.first(name) for name in ("CreateEventSourceMapping", "ListEventSourceMappings"))
    settled = made.wait(next(call for call in made.recording.steps["map-stream"] if call.waiter))
    update = made.like(create, "UpdateEventSourceMapping", UUID=expansion("$mapping_uuid"))
    depth, new = made.of(create, before="mapping_uuid=$(retry_while_role_propagates ")
    body = [
        *either(
            made.ask(look, f"EventSourceMappings[?EventSourceArn=='{expansion('$stream_arn')}'].UUID"),
            [(0, "mapping_uuid=$answer"), *settled, made.of(update, quiet=True)],
            [(depth, [*new, "--query UUID", "--output text)"])],
        ),
        *settled,
    ]
    return Step(
        "map-stream",
        "Map the table's stream to the function.",
        "From here on Lambda reads the stream. AWS takes one mapping of a function on a stream, so it is looked for "
        "first. Where the reading starts is said when the mapping is created, and does not change.",
        body,
        "`aws lambda get-event-source-mapping` shows State Enabled; with the first item LastProcessingResult becomes "
        "OK.",
        "`ensure the role can perform`: look at the role's policy. Of a mapping that stands still, "
        "LastProcessingResult says why.",
    )


def smoke(recording: Recording) -> Step:
    """Prove it: put an item, see it in the log, remove it."""
    made = Commands(recording)
    put = recording.first("PutItem")
    # An identical put makes no record: each try has its number.
    item = {**put.parameters["Item"], "smoke_attempt": {"N": expansion("$tries")}}
    put = replace(put, parameters={**put.parameters, "Item": item})
    needs = str(item)
    body: list[Statement] = [
        (0, "started=$(date +%s)"),
        (0, 'marker=smoke$(printf "%016x%016x" "$started" "$$")'),
        *([(0, 'number="$started$$"')] if "$number" in needs else []),
        *([(0, 'encoded=$(printf %s "$marker" | base64)')] if "$encoded" in needs else []),
        (0, "tries=0"),
        (0, "line="),
        (0, 'while [ -z "$line" ] && [ "$tries" -lt 120 ]; do'),
        (1, '[ "$((tries % 15))" != 0 ] ||'),
        made.of(put, 2),
        (1, "tries=$((tries + 1))"),
        (1, "sleep 1"),
        *deeper(_search(made, item)),
        (0, "done"),
        made.of(recording.first("DeleteItem")),
        (0, '[ -n "$line" ] || fail "the log does not show the item; look at the mapping, then at the log"'),
        (0, 'say "$line"'),
    ]
    return Step(
        "smoke",
        "Prove it: put an item, see it in the function's log, remove it.",
        "A mapping that says Enabled may begin to read minutes later: the item is put again meanwhile.",
        body,
        "The record with the item, as the function logged it.",
        "Nothing logged: `aws lambda list-event-source-mappings` tells State and LastProcessingResult; the function's "
        "own errors are in its log group.",
    )


def _search(made: Commands, item: dict[str, Any]) -> list[Statement]:
    """Look for the item's partition key in the log."""
    hash_key = made.recording.first("CreateTable").parameters["KeySchema"][0]["AttributeName"]
    kind, value = next(iter(item[hash_key].items()))

    def search(term: str) -> Statement:
        group = made.recording.first("CreateLogGroup")
        wanted = {"startTime": expansion("${started}000"), "filterPattern": f'"{term}"'}
        return made.ask(made.like(group, "FilterLogEvents", **wanted), "events[].message")

    if kind != "B":
        return [search(value), (0, "line=$answer")]
    # Version 2 of the AWS CLI takes the text for base64, version 1 for the bytes themselves: one of them is in the log.
    twice = expansion('$(printf %s "$encoded" | base64)')
    return [search(expansion("$encoded")), (0, "line=$answer"), search(twice), (0, "line=$line$answer")]


def removal(recording: Recording) -> Step:
    """Remove everything, in the order in which nothing comes back and nothing dangles."""
    made = Commands(recording)
    return Step(
        "clean",
        "Remove everything.",
        "The mapping goes before the function, or it would be left behind; the log group after it, as late lines would "
        "make it anew. A table that holds items stays, unless --delete-data is given.",
        [*_remove_function(made), *_remove_role(made), *_remove_table(made)],
        "The commands that look answer that there is no such thing.",
        "DeleteConflict: the role has a policy that this procedure did not give it; see `aws iam list-role-policies`.",
    )


def _remove_function(made: Commands) -> list[Statement]:
    first = made.recording.first
    ours = f"EventSourceMappings[?contains(EventSourceArn, ':table/{expansion('$table_name')}/stream/')].UUID"
    waits = [call for call in made.recording.steps["clean"] if call.waiter]
    gone = next(call for call in waits if call.model.name == "GetEventSourceMapping")
    return [
        made.ask(first("GetFunction"), f"Tags{_OWNER_IN_MAP}"),
        (0, "function_owner=$answer"),
        (0, '[ -z "$function_owner" ] || ours "function $function_name" "$function_owner"'),
        made.ask(first("ListEventSourceMappings"), ours),
        (0, "for mapping_uuid in $answer; do"),
        made.of(first("DeleteEventSourceMapping"), 1, quiet=True),
        *made.wait(gone, 1),
        (0, "done"),
        (0, '[ -z "$function_owner" ] ||'),
        made.of(first("DeleteFunction"), 1, quiet=True),
        *either(_look_for_group(made), [*_ours_group(made), made.of(first("DeleteLogGroup"))]),
    ]


def _remove_role(made: Commands) -> list[Statement]:
    names = ("DeleteRolePolicy", "DetachRolePolicy")
    policies = [call for call in made.recording.steps["clean"] if call.model.name in names]
    return either(
        made.ask(made.recording.first("GetRole"), f"Role.Tags{_OWNER_IN_LIST}"),
        [
            (0, 'ours "role $role_name" "$answer"'),
            *(made.of(call, before="ask ") for call in policies),
            made.of(made.recording.first("DeleteRole")),
        ],
    )


def _remove_table(made: Commands) -> list[Statement]:
    look, delete = made.recording.first("DescribeTable"), made.recording.first("DeleteTable")
    gone: Call = [call for call in made.recording.steps["clean"] if call.waiter and call.service == "dynamodb"][-1]
    items = made.like(look, "Scan", Limit=1, ConsistentRead=True)
    return either(
        made.ask(look, "Table.TableStatus"),
        [
            *_ours_table(made),
            made.ask(items, "Count"),
            (0, '[ "$answer" = 0 ] || [ "$delete_data" = --delete-data ] ||'),
            (1, 'fail "table $table_name holds items and is kept, all else is removed; see --delete-data"'),
            made.of(delete, quiet=True),
            *made.wait(gone),
        ],
    )
