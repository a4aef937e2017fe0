"""The steps as the tasks chain them: from the settings to one call of a noun, and what must stand before it.

Each returns the Change it made; the chains in tasks.py call them in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from . import archive, function, logs, mapping, policies, role, session, smoke, table, parameters
from .resources.change import Change, Action, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from .settings import Settings


@dataclass(frozen=True)
class Run:
    """What a task works with: its settings, a function from a service's name to its client, the project's folder.

    `dry`: the clients only plan what would be written. `adopt`: what stands already and is not ours is taken over.
    """

    settings: Settings
    aws: Callable[..., Any]
    root: Path
    dry: bool = False
    adopt: bool = False

    @cached_property
    def caller(self) -> dict[str, str]:
        """Who calls, as GetCallerIdentity tells it; UserError when that is not the account of the settings."""
        return session.check_account(self.settings, self.aws("sts"))

    def planned(self) -> Run:
        """The same run with clients that only plan: what it would do, before it is asked for or begun."""
        return replace(self, aws=partial(self.aws, dry=True), dry=True)


# What a call meets that was made again since its answer was lost, or that was made after a look that was out of date.
_MET_ITSELF = {
    "EntityAlreadyExists",
    "NoSuchEntity",
    "ResourceAlreadyExistsException",
    "ResourceConflictException",
    "ResourceInUseException",
    "ResourceNotFoundException",
}


# Each of a step's writing calls may lose its answer; more of them than this are no accident.
_LOST_ANSWERS = 3


def surely(step: Callable[[], Change]) -> Change:
    """Take a step, and take it again from the look on when it met what may be its own doing."""
    for _ in range(_LOST_ANSWERS):
        try:
            return step()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _MET_ITSELF:
                raise
    return step()


def zip_code(settings: Settings, root: Path, *, dry: bool = False) -> tuple[Change, bytes]:
    """lambda_src/ as build/function.zip, checked to hold the handler; the zip's bytes come along."""
    build = root / "build"
    code = archive.build(
        root / "lambda_src", build / "vendor", settings.function_runtime, settings.function_architecture
    )
    archive.check_handler(code, settings.function_handler, settings.function_runtime)
    path = build / "function.zip"
    before = path.read_bytes() if path.is_file() else None
    if before != code and not dry:
        build.mkdir(exist_ok=True)
        path.write_bytes(code)
    did: Action = "unchanged" if before == code else "updated" if before else "created"
    answer = {"CodeSha256": archive.sha256(code), "CodeSize": len(code)}
    return Change(f"zip build/{path.name}", did, attributes=answer), code


def check(run: Run, code: bytes) -> None:
    """Refuse what is wrong with the policies and the *_OPTIONS, before anything is written."""
    for path in sorted({*(run.root / "policies").glob("*.json"), *(run.root / "policies" / name for name in _NEEDED)}):
        policies.render(path, lambda: parameters.policy_tokens(run.settings, _SOME_ARN))
    _table(run)
    _role(run, {})
    _function(run, _SOME_ARN, code)
    _mapping(run, _SOME_ARN)


def create_table(run: Run) -> Change:
    """The table with its stream on; AWS may still be at work on it."""
    return surely(lambda: table.ensure(run.aws("dynamodb"), _table(run), adopt=run.adopt))


def create_role(run: Run) -> Change:
    """The role that Lambda assumes, by policies/trust-policy.json."""
    wanted_role = _role(run, _policy(run, "trust-policy.json"))
    return surely(lambda: role.ensure(run.aws("iam"), wanted_role, adopt=run.adopt))


def put_policies(run: Run, role_arn: str) -> Iterator[Change]:
    """What the role may do: an inline policy for each document in policies/, and one for ON_FAILURE.

    One whose document is gone is taken away: ours are told by their names, which begin with the pipeline's.
    """
    settings, iam = run.settings, run.aws("iam")
    documents = _inline_policies(run, role_arn)
    for name, document in documents.items():
        yield role.ensure_policy(iam, settings.role_name, name, document, owner=settings.pipeline_name, adopt=run.adopt)
    for name in our_policy_names(run):
        if name not in documents:
            yield surely(partial(role.delete_policy, iam, settings.role_name, name, owner=settings.pipeline_name))


def create_log_group(run: Run, *, tags: bool = True) -> Change:
    """The function's log group: ours, with a retention, so that `clean` may remove it and nothing is kept for ever."""
    group = parameters.log_group(run.settings)
    return surely(lambda: logs.ensure(run.aws("logs"), group, adopt=run.adopt, tags=tags))


def create_function(run: Run, role_arn: str, code: bytes) -> Change:
    """The function with its code; AWS may still be at work on it."""
    return surely(lambda: function.ensure(run.aws("lambda"), _function(run, role_arn, code), adopt=run.adopt))


def map_stream(run: Run, stream_arn: str, *, tags: bool = True) -> Change:
    """The event source mapping from the table's stream to the function; AWS may still be at work on it."""
    return surely(lambda: mapping.ensure(run.aws("lambda"), _mapping(run, stream_arn), tags=tags))


def existing_role(run: Run) -> dict[str, Any]:
    """The role that is there; UserError, naming the task that makes it, when it is not."""
    found = role.describe(run.aws("iam"), run.settings.role_name)
    if found is None:
        raise UserError(f"role {run.settings.role_name} does not exist; make it with: invoke create-role")
    return found


def existing_table(run: Run) -> dict[str, Any]:
    """The table that is there; UserError, naming the task that makes it, when it is not."""
    found = table.describe(run.aws("dynamodb"), run.settings.table_name)
    if found is None:
        raise UserError(f"table {run.settings.table_name} does not exist; make it with: invoke create-table")
    return found


def stream_of(found: Mapping[str, Any]) -> str:
    """The ARN of the stream of a table that was found; UserError, naming the task that makes it, when it is off."""
    if not found["StreamSpecification"]["StreamEnabled"]:
        raise UserError(f"table {found['TableName']} has no stream; turn it on with: invoke create-table")
    return str(found["LatestStreamArn"])


def existing_function(run: Run) -> dict[str, Any]:
    """The function that is there; UserError, naming the task that makes it, when it is not."""
    found = function.describe(run.aws("lambda"), run.settings.function_name)
    if found is None:
        raise UserError(f"function {run.settings.function_name} does not exist; make it with: invoke create-function")
    return found


def existing_mapping(run: Run, stream_arn: str) -> dict[str, Any]:
    """The mapping that is there; UserError, naming the task that makes it, when it is not."""
    found = mapping.describe(run.aws("lambda"), run.settings.function_name, stream_arn)
    if found is None:
        raise UserError(
            f"function {run.settings.function_name} has no mapping on the stream of table {run.settings.table_name}; "
            f"make it with: invoke map-stream"
        )
    return found


def deployed(run: Run) -> smoke.Deployed:
    """All that an item passes on its way to the log; UserError, naming the task that makes it, when a part is missing."""
    existing_function(run)
    found = existing_table(run)
    return smoke.Deployed(
        table=found,
        mapping=existing_mapping(run, stream_of(found)),
        log_group=parameters.log_group_name(run.settings),
        role=role.describe(run.aws("iam"), run.settings.role_name),
    )


def _inline_policies(run: Run, role_arn: str) -> dict[str, dict[str, Any]]:
    """Each document by the name of its inline policy, as it lies in build/policies/."""
    settings, folder, build = run.settings, run.root / "policies", run.root / "build" / "policies"
    documents = {settings.policy_name: _policy(run, "execution-policy.json", role_arn)}
    if settings.on_failure:
        documents[f"{settings.pipeline_name}-on-failure"] = parameters.on_failure_policy(settings.on_failure)
        policies.write(documents[f"{settings.pipeline_name}-on-failure"], build / "on-failure.json")
    for path in sorted(folder.glob("*.json")):
        if path.name not in _NEEDED:
            documents[f"{settings.pipeline_name}-{path.stem}"] = _policy(run, path.name, role_arn)
    return documents


def our_policy_names(run: Run) -> list[str]:
    """The role's inline policies that this pipeline made."""
    settings = run.settings
    names = role.inline_policy_names(run.aws("iam"), settings.role_name)
    return [name for name in names if name == settings.policy_name or name.startswith(f"{settings.pipeline_name}-")]


def _policy(run: Run, name: str, arn: str = "") -> dict[str, Any]:
    """A document of policies/; `arn`, of anything in the account, spares asking who calls."""

    def tokens() -> dict[str, str]:
        return parameters.policy_tokens(run.settings, arn if arn.startswith("arn:") else run.caller["Arn"])

    document = policies.render(run.root / "policies" / name, tokens)
    policies.write(document, run.root / "build" / "policies" / name)
    return document


_NEEDED = ("trust-policy.json", "execution-policy.json")
# Stands for an ARN where only the form of a request is looked at.
_SOME_ARN = "arn:aws:iam::000000000000:role/any"
# What a noun takes beside the parameters of the create call.
_OF_OTHER_CALLS = {"PointInTimeRecoverySpecification", "ManagedPolicyArns", "ReservedConcurrentExecutions"}


def _table(run: Run) -> dict[str, Any]:
    return _checked(run.aws("dynamodb"), "create_table", parameters.table(run.settings), "TABLE_OPTIONS")


def _role(run: Run, trust_policy: Mapping[str, Any]) -> dict[str, Any]:
    return _checked(run.aws("iam"), "create_role", parameters.role(run.settings, trust_policy), "ROLE_OPTIONS")


def _function(run: Run, role_arn: str, code: bytes) -> dict[str, Any]:
    parameters = parameters.function(run.settings, role_arn, code)
    return _checked(run.aws("lambda"), "create_function", parameters, "FUNCTION_OPTIONS")


def _mapping(run: Run, stream_arn: str) -> dict[str, Any]:
    parameters = parameters.mapping(run.settings, stream_arn)
    return _checked(run.aws("lambda"), "create_event_source_mapping", parameters, "MAPPING_OPTIONS")


def _checked(client: Any, call: str, parameters: dict[str, Any], setting: str) -> dict[str, Any]:
    """The parameters, when the API's own model of the call knows them all; UserError otherwise."""
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[call]).input_shape
    checked = {name: value for name, value in parameters.items() if value != "" and name not in _OF_OTHER_CALLS}
    if "AssumeRolePolicyDocument" in checked:
        checked["AssumeRolePolicyDocument"] = "{}"  # a mapping until it is sent
    report = ParamValidator().validate(checked, shape)
    if report.has_errors():
        raise UserError(f"{setting}: {report.generate_report()}")
    return parameters
