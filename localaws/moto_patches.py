"""Every change that the local AWS makes to moto, in the order in which it makes them.

moto has no hooks for them. The replacements are in the packages; each says what moto lacks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import moto
from moto.awslambda import models as lambda_models
from moto.core.common_models import BaseModel
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models import table as table_models
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.responses import DynamoHandler
from moto.iam.responses import IamResponse
from moto.logs import models as logs_models

from localaws.dynamodb import items, stream, tables
from localaws.iam import managed_policies
from localaws.lambda_ import api, settings
from localaws.logs import storage

if TYPE_CHECKING:
    from localaws.lambda_.functions import Functions

# The changes rely on moto's internals, so each new version has to be tried with the tests first.
MOTO_VERSION = "5.2.5"
_WRITES = ("put_item", "update_item", "delete_item", "transact_write_items", "execute_statement")
# ruff: noqa: B010 - setattr, because mypy refuses an assignment to a method or a class


class MotoVersionError(Exception):
    """The local AWS was not written for the installed version of moto."""


def patch_moto(functions: Functions) -> None:
    """Change moto. Call it once, before the first request. Raises MotoVersionError."""
    if moto.__version__ != MOTO_VERSION:
        raise MotoVersionError(f"moto {moto.__version__} is installed; the local AWS needs moto {MOTO_VERSION}")
    setattr(BaseModel, "__new__", _new_untracked)
    _patch_dynamodb()
    setattr(IamResponse, "call_action", managed_policies.loading_policies(IamResponse.call_action))
    _patch_logs()
    _patch_lambda(functions)


def _new_untracked(kind: type[BaseModel], *_: object, **__: object) -> BaseModel:
    """Create an object. moto keeps a reference to each one, for a web page that nobody opens here."""
    return object.__new__(kind)


def _patch_dynamodb() -> None:
    setattr(DynamoType, "__init__", items.normalizing_numbers(DynamoType.__init__))
    # Before the stream's changes: those then wrap it, and an update that fails leaves no stream record.
    setattr(DynamoDBBackend, "update_item", items.all_or_nothing(DynamoDBBackend.update_item))
    setattr(table_models, "StreamShard", stream.Stream)
    for name in _WRITES:
        setattr(DynamoDBBackend, name, stream.recording(getattr(DynamoDBBackend, name)))
    setattr(DynamoDBBackend, "update_table_streams", stream.update_table_streams)
    setattr(DynamoDBBackend, "delete_table", stream.closing_stream(DynamoDBBackend.delete_table))
    setattr(table_models.Table, "describe", tables.describing_all(table_models.Table.describe))
    setattr(DynamoHandler, "create_table", tables.keeping_settings(DynamoHandler.create_table, "CREATING"))
    setattr(DynamoHandler, "update_table", tables.keeping_settings(DynamoHandler.update_table, "UPDATING"))
    setattr(DynamoHandler, "delete_table", tables.delaying_deletion(DynamoHandler.delete_table))
    setattr(DynamoHandler, "call_action", tables.refusing_busy_tables(DynamoHandler.call_action))


def _patch_logs() -> None:
    setattr(logs_models, "LogStream", storage.LogStream)
    setattr(logs_models.LogGroup, "filter_log_events", storage.filter_log_events)
    delete_log_stream, delete_log_group = (
        logs_models.LogGroup.delete_log_stream,
        logs_models.LogsBackend.delete_log_group,
    )
    setattr(logs_models.LogGroup, "delete_log_stream", storage.deleting_events_of_stream(delete_log_stream))
    setattr(logs_models.LogsBackend, "delete_log_group", storage.deleting_events_of_group(delete_log_group))


def _patch_lambda(functions: Functions) -> None:
    backend = lambda_models.LambdaBackend
    setattr(settings.Function, "on_event", staticmethod(partial(api.start_event, functions)))
    setattr(lambda_models, "LambdaFunction", settings.Function)
    setattr(backend, "update_function_code", settings.update_function_code)
    setattr(backend, "delete_function", api.ending_processes(functions, backend.delete_function))
