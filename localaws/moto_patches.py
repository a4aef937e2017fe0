"""Every change that the local AWS makes to moto, in the order in which it makes them.

moto has no hooks for them. The new code is in the packages. Each piece says what moto lacks.
"""

from __future__ import annotations

import os
import time
from functools import cache, cached_property, partial, wraps
from typing import TYPE_CHECKING, Any

import moto
from moto import backends
from moto.awslambda import models as lambda_models
from moto.awslambda.responses import LambdaResponse
from moto.cloudwatch.models import CloudWatchBackend
from moto.core import responses
from moto.core.common_models import BaseModel
from moto.core.parse import JSONParser
from moto.core.responses import BaseResponse
from moto.dynamodb.comparisons import (
    FuncBetween,
    FuncIn,
    OpEqual,
    OpGreaterThan,
    OpGreaterThanOrEqual,
    OpLessThan,
    OpLessThanOrEqual,
    OpNotEqual,
)
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models import table as table_models
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.parsing.validators import ExpressionAttributeResolvingProcessor, TypeMismatchValidator
from moto.dynamodb.responses import DynamoHandler
from moto.iam.responses import IamResponse
from moto.kms.models import KmsBackend
from moto.logs import models as logs_models
from moto.logs.responses import LogsResponse
from moto.s3.responses import S3Response
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.sqs import models as sqs_models
from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse

from localaws import keys, signature
from localaws.cloudwatch import alarms
from localaws.dynamodb import items, late_reads, resource_policies, stream, tables, updates, validation, writes
from localaws.iam import batches, managed_policies, policies, propagation, simulation, users
from localaws.lambda_ import api, layers, settings, versions
from localaws.lambda_.functions import ACCOUNT_CONCURRENCY
from localaws.logs import insights, storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.functions import Functions

# The changes rely on moto's internals. Before you raise the version, run the tests with it.
MOTO_VERSION = "5.2.5"


def patch_moto(functions: Functions) -> None:
    """Change moto. Call it once, before the first request. Raises ImportError for another version."""
    if moto.__version__ != MOTO_VERSION:
        raise ImportError(f"moto {moto.__version__} is installed; the local AWS needs moto {MOTO_VERSION}")
    # moto keeps a reference to each object, for a web page that nobody opens here.
    _replace(BaseModel, "__new__", lambda kind, *_, **__: object.__new__(kind))
    # moto lists a folder and a class for each request.
    modules = tuple(backends.list_of_moto_modules())
    _replace(backends, "list_of_moto_modules", lambda: modules)
    _replace(responses, "method_names_from_class", cache(responses.method_names_from_class))  # type: ignore[attr-defined]

    # moto sees access keys of 20 characters only.
    _replace(BaseResponse, "get_current_account", _account)

    _patch_items()
    _patch_tables()
    _patch_logs()
    _patch_iam()
    _patch_lambda(functions)
    _wrap(CloudWatchBackend, "put_metric_alarm", alarms.put_alarm)
    _wrap(CloudWatchBackend, "delete_alarms", alarms.delete_alarms)
    _wrap(CloudWatchBackend, "list_tags_for_resource", alarms.list_tags)
    _wrap(KmsBackend, "create_key", keys.create)
    # For each message that it returns, moto counts the queue's messages several times.
    _replace(sqs_models.SQSBackend, "is_message_valid_based_on_retention_period", _is_retained)
    _replace(sqs_models, "unix_time_millis", lambda: time.time() * 1000)


def _is_retained(self: sqs_models.SQSBackend, queue_name: str, message: sqs_models.Message) -> bool:
    """Whether a message is younger than the MessageRetentionPeriod of its queue."""
    period = self.get_queue(queue_name).message_retention_period  # type: ignore[attr-defined] # set by name
    return bool(period + message.sent_timestamp / 1000 > time.time())  # type: ignore[operator]


def _account(self: BaseResponse) -> str:
    return signature.parse(self.headers.get("Authorization", "")).account


def _patch_items() -> None:
    """Attribute values and the calls that read and write items."""
    # moto takes a JSON body for a query string, in which "&Action=" names the operation.
    _replace(DynamoHandler, "use_raw_body", True)
    _replace(JSONParser, "_parse_structure", items.parse_structure)
    _replace(DynamoType, "__init__", items.initialize)
    _replace(DynamoType, "__hash__", lambda value: hash((value.type, value.value)))  # of a key
    _replace(DynamoType, "__eq__", items.equal)
    _replace(DynamoType, "__ne__", lambda value, other: not items.equal(value, other))
    for operation in ("__add__", "__sub__"):
        _wrap(DynamoType, operation, items.calculate)
    for change in ("__setitem__", "pop"):
        _wrap(DynamoType, change, items.in_container)
    # `items.check_value` has checked them.
    _replace(table_models.Table, "_validate_item_types", lambda *_: None)
    # `items.check_item` counts as DynamoDB does. moto counts all attributes anew for each attribute that it stores.
    _replace(LimitedSizeDict, "__setitem__", dict.__setitem__)
    _wrap(ExpressionAttributeResolvingProcessor, "resolve_expression_path", items.copy_operand)
    for comparison, evaluate in ((OpEqual, items.is_equal), (OpNotEqual, items.is_unequal), (FuncIn, items.is_in)):
        _replace(comparison, "expr", evaluate)
    for operator in (OpLessThan, OpLessThanOrEqual, OpGreaterThan, OpGreaterThanOrEqual, FuncBetween):
        _wrap(operator, "expr", items.in_order)
    # `writes` checks the keys of indexes, also those that an expression names by a placeholder.
    _replace(TypeMismatchValidator, "check_for_type_mismatch", lambda _, node: node)
    _replace(Item, "update_with_attribute_updates", updates.apply_attribute_updates)
    _wrap(DynamoDBBackend, "update_item", writes.update_item)
    _replace(DynamoDBBackend, "transact_write_items", writes.transact)
    for kind in ("Put", "Update", "Delete"):
        _wrap(DynamoHandler, f"{kind.lower()}_item", partial(writes.write_item, kind))
    _replace(DynamoHandler, "batch_write_item", writes.batch_write_item)
    for call in ("transact_write_items", "execute_statement", "batch_execute_statement", "execute_transaction"):
        _wrap(DynamoHandler, call, getattr(writes, call))
    for call in ("get_item", "batch_get_item", "transact_get_items"):
        _wrap(DynamoHandler, call, getattr(writes, call))
    for call in ("update_item", "batch_write_item", "batch_get_item", "transact_write_items"):
        _wrap(DynamoHandler, call, writes.hide_consumption)
    _wrap(DynamoHandler, "query", validation.check_query)
    for call in ("query", "scan", "describe_table"):
        _wrap(DynamoHandler, call, writes.locked)


def _patch_tables() -> None:
    """The calls that change tables, and the streams."""
    backend = cached_property(tables.backend)  # of one request
    backend.__set_name__(DynamoHandler, "dynamodb_backend")
    _replace(DynamoHandler, "dynamodb_backend", backend)
    for call in ("put_resource_policy", "get_resource_policy", "delete_resource_policy"):
        _replace(DynamoDBBackend, call, getattr(resource_policies, call))
    _replace(table_models, "StreamShard", stream.Stream)
    _replace(DynamoDBBackend, "update_table_streams", stream.update_table_streams)
    _wrap(DynamoDBBackend, "delete_table", stream.close_with_table)
    _wrap(table_models.Table, "describe", tables.describe)
    _replace(table_models.Table, "all_items", tables.all_items)
    _replace(table_models.Table, "__len__", tables.count_items)
    _wrap(DynamoHandler, "create_table", tables.create)
    _wrap(DynamoHandler, "update_table", tables.update)
    _wrap(DynamoHandler, "update_table", tables.refuse_before_changing)
    _wrap(DynamoHandler, "delete_table", tables.delete)
    _wrap(DynamoHandler, "call_action", tables.refuse_busy_tables)
    _wrap(DynamoHandler, "call_action", validation.check)
    _wrap(DynamoDBBackend, "update_time_to_live", tables.update_time_to_live)
    _wrap(DynamoDBBackend, "describe_time_to_live", tables.describe_time_to_live)
    for call in (
        "create_table", "update_table", "delete_table", "update_time_to_live", "create_backup",
        "restore_table_from_backup", "restore_table_to_point_in_time",
    ):  # fmt: skip
        _wrap(DynamoHandler, call, writes.locked)
    _wrap(DynamoDBBackend, "tag_resource", tables.overwrite_tags)
    _wrap(DynamoDBBackend, "untag_resource", tables.remove_tags)
    for call in ("create_table", "delete_table", "tag_resource", "untag_resource", "update_continuous_backups"):
        _wrap(DynamoDBBackend, call, late_reads.record)
    for call in ("update_continuous_backups", "create_backup"):
        _wrap(DynamoDBBackend, call, late_reads.refuse_backups)
    _wrap(DynamoDBBackend, "list_tags_of_resource", late_reads.list_tags)
    _wrap(DynamoDBBackend, "list_tables", late_reads.list_tables)
    _wrap(DynamoDBBackend, "describe_continuous_backups", late_reads.describe_backups)
    _wrap(DynamoHandler, "describe_table", late_reads.describe_table)


def _patch_logs() -> None:
    """Log events in a database, filter patterns, and lists that are late."""
    _replace(logs_models, "LogStream", storage.LogStream)
    _replace(logs_models, "EventMessageFilter", storage.MessageFilter)
    _wrap(logs_models.LogsBackend, "put_subscription_filter", storage.put_subscription_filter)
    _replace(LogsResponse, "filter_log_events", storage.filter_log_events)
    _wrap(logs_models.LogGroup, "delete_log_stream", storage.delete_log_stream)
    for call in ("delete_log_stream", "get_log_events"):
        _wrap(logs_models.LogGroup, call, storage.find_log_stream)
    _wrap(logs_models.LogGroup, "describe_log_streams", storage.describe_log_streams)
    _wrap(logs_models.LogsBackend, "delete_log_group", storage.delete_log_group)
    for write in ("create_log_group", "ensure_log_group", "delete_log_group"):
        _wrap(logs_models.LogsBackend, write, storage.record_log_groups)
    _replace(LogsResponse, "describe_log_groups", storage.describe_log_groups)
    _wrap(logs_models.LogsBackend, "list_tags_for_resource", storage.list_tags)
    _replace(logs_models, "execute_query", insights.execute_query)
    _wrap(logs_models.LogsBackend, "start_query", insights.start_query)
    _wrap(logs_models.LogsBackend, "get_query_results", insights.get_query_results)


def _patch_iam() -> None:
    """Roles and policies that take effect late, managed policies, users, simulations, refusals of single items."""
    _wrap(IamResponse, "call_action", propagation.handle_role)
    _wrap(IamResponse, "call_action", managed_policies.load_before)
    _replace(IamResponse, "backend", property(propagation.backend))
    # moto does not have this call.
    IamResponse.simulate_principal_policy = simulation.simulate_principal_policy  # type: ignore[attr-defined]
    for call in ("create_role", "update_assume_role_policy"):
        _wrap(IamResponse, call, policies.check_trust)
    _wrap(IamResponse, "create_user", users.create)
    for call in ("put_user_permissions_boundary", "delete_user_permissions_boundary"):
        setattr(IamResponse, call, users.put_boundary)
    for call in ("get_session_token", "get_federation_token"):
        _wrap(TokenResponse, call, users.issue_session)
    _wrap(STSBackend, "get_caller_identity", users.caller_identity)
    _wrap(S3Response, "_bucket_response_delete_keys", batches.delete_objects)
    _wrap(SecretsManagerResponse, "batch_get_secret_value", batches.get_secrets)


def _patch_lambda(functions: Functions) -> None:
    """Functions that run, with their settings, versions, aliases and layers."""
    for call in ("get_layer_version", "layers_versions_by_arn"):
        _wrap(lambda_models.LambdaBackend, call, layers.find)
    # moto limits reserved concurrency only if it knows this.
    os.environ["MOTO_LAMBDA_CONCURRENCY_QUOTA"] = str(ACCOUNT_CONCURRENCY)
    settings.Function.on_event = staticmethod(partial(api.start_event, functions))
    _replace(lambda_models, "LambdaFunction", settings.Function)
    _replace(lambda_models.LambdaBackend, "update_function_code", settings.update_function_code)
    for write in ("put_function_concurrency", "delete_function_concurrency", "tag_resource", "untag_resource"):
        _wrap(LambdaResponse, write, settings.refuse_during_update)
    _replace(lambda_models.LambdaStorage, "publish_version", versions.publish)
    _wrap(lambda_models.LambdaStorage, "del_function", versions.delete)
    _wrap(LambdaResponse, "list_versions_by_function", versions.list_versions)
    _wrap(LambdaResponse, "publish_version", versions.refuse_other_code)
    _wrap(LambdaResponse, "update_alias", versions.update_alias)
    for write in ("publish_version", "create_alias", "update_alias"):
        _wrap(LambdaResponse, write, settings.refuse_during_update)
    _wrap(LambdaResponse, "get_function", settings.hide_tags)
    _wrap(lambda_models.LambdaBackend, "delete_function", functions.delete)


def _replace(owner: object, name: str, replacement: object) -> None:
    getattr(owner, name)  # it has to exist
    setattr(owner, name, replacement)


def _wrap(owner: type, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a method by `wrapper`, which gets the method as its first argument."""
    method = getattr(owner, name)

    @wraps(method)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        return wrapper(method, *arguments, **options)

    setattr(owner, name, wrapped)
