"""The API of event source mappings: Create, Get, List, Update, Delete, and the tags of a mapping.

moto never sees these calls. Once moto has a mapping, each write to the table tries to start Docker and empties the
stream. Lambda API reference, under the names of the calls.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from werkzeug.wrappers import Response

from localaws import delays, service_model
from localaws.dynamodb.stream import find_stream
from localaws.errors import AwsError, invalid
from localaws.lambda_ import names
from localaws.mappings import options
from localaws.mappings.encryption import filter_criteria_error
from localaws.mappings.options import stream_access_problem
from localaws.mappings.poller import Poller
from localaws.mappings.state import EventSourceMapping
from localaws.signature import signature

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from localaws.dynamodb.stream import Stream
    from localaws.lambda_.functions import Functions
    from localaws.mappings.poller import Discard

_PATH = re.compile(r"/2015-03-31/event-source-mappings(?:/(?P<uuid>[^/]+))?/?")
_TAGS_PATH = re.compile(r"/2017-03-31/tags/(?P<arn>.+:event-source-mapping:(?P<uuid>[^/]+))")
_STREAM_ARN = re.compile(r"arn:[\w-]+:dynamodb:[\w-]+:\d{12}:table/[\w.-]+/stream/.+")


class Mappings:
    """All event source mappings of the local AWS, with their pollers.

    `functions` runs the code, and `discard` gets the discarded batches (see `Poller`).
    """

    def __init__(self, functions: Functions, discard: Discard) -> None:
        self._functions = functions
        self._discard = discard
        self._lock = threading.RLock()
        self._mappings: dict[str, EventSourceMapping] = {}
        self._pollers: dict[str, Poller] = {}
        self._history: delays.History[dict[str, Any]] = delays.History()

    def handle(self, request: Request) -> Response | None:
        """Handle the calls about event source mappings."""
        path = unquote(request.path)
        if match := _TAGS_PATH.fullmatch(path):
            call = self._call_tags
        elif match := _PATH.fullmatch(path):
            call = self._call_mappings
        else:
            return None
        with self._lock:
            document, status = call(request, match["uuid"])
            if request.method != "GET":
                self._history.record("", self._describe_all)
        body = "" if document is None else json.dumps(document)
        return Response(body, status, {"x-amzn-RequestId": str(uuid.uuid4())}, mimetype="application/json")

    def function_of(self, mapping_id: str) -> str:
        """The ARN of a mapping's function; "" if the mapping does not exist."""
        mapping = self._mappings.get(mapping_id)
        return mapping.function_arn if mapping else ""

    def _call_mappings(self, request: Request, mapping_id: str | None) -> tuple[dict[str, Any] | None, int]:
        account = signature(request).account
        if mapping_id is None:
            if request.method == "POST":
                return self._create(_body(request), account), 202
            return self._list(request), 200
        mapping = self._find(mapping_id, account)
        if request.method == "PUT":
            return self._update(mapping, _body(request)), 202
        if request.method == "DELETE":
            return self._delete(mapping), 202
        error = filter_criteria_error(mapping.options)
        if not error:
            return mapping.describe(), 200
        return {**mapping.describe(), "FilterCriteria": None, "FilterCriteriaError": error}, 200

    def _call_tags(self, request: Request, mapping_id: str) -> tuple[dict[str, Any] | None, int]:
        mapping = self._find(mapping_id, signature(request).account)
        if request.method == "GET":
            return {"Tags": mapping.tags}, 200
        if request.method == "POST":
            mapping.tags |= _body(request).get("Tags") or {}
        for key in request.args.getlist("tagKeys"):
            mapping.tags.pop(key, None)
        return None, 204

    def _create(self, request: dict[str, Any], account: str) -> dict[str, Any]:
        stream_arn = _stream_arn(request)
        its_options = options.merge(request)
        function_arn, role = self._function(request.get("FunctionName"), stream_arn.split(":")[3], account)
        stream = _stream(stream_arn, role)
        if problem := options.destination_problem(request, role):
            raise invalid(problem)
        self._refuse_duplicate(stream, function_arn)
        tags = request.get("Tags") or {}
        mapping = EventSourceMapping(function_arn, stream, request["StartingPosition"], its_options, tags=tags)
        self._mappings[mapping.uuid] = mapping
        enabled = request.get("Enabled", True)
        description = mapping.describe()
        delays.schedule("mapping-creating", lambda: self._finish(mapping, enabled=enabled))
        return description

    def _refuse_duplicate(self, stream: Stream, function_arn: str, besides: str = "") -> None:
        """Refuse a second mapping of a stream to the same function, version or alias."""
        for other in self._mappings.values():
            if other.stream is stream and other.function_arn == function_arn and other.uuid != besides:
                name = function_arn.split(":")[6]
                raise AwsError(
                    "ResourceConflictException",
                    f'The event source arn (" {stream.arn} ") and function (" {name} ") provided mapping already '
                    f"exists. Please update or delete the existing mapping with UUID {other.uuid}",
                    409,
                )

    def _list(self, request: Request) -> dict[str, Any]:
        source, function = request.args.get("EventSourceArn"), request.args.get("FunctionName")
        scope, limit = signature(request), request.args.get("MaxItems", 100, int)
        service_model.validate("lambda", "ListEventSourceMappings", {**request.args, "MaxItems": limit})
        mappings = [
            mapping
            | ({"LastProcessingResult": live.result} if (live := self._mappings.get(mapping["UUID"])) else {})
            | ({"FilterCriteria": None} if mapping.get("KMSKeyArn") else {})
            for mapping in self._history.seen("", "mapping-listed", self._describe_all).values()
            if mapping["FunctionArn"].split(":")[3:5] == [scope.region, scope.account]
            and source in (None, mapping["EventSourceArn"])
            and (function is None or _invokes(mapping["FunctionArn"], function))
        ]
        start = request.args.get("Marker", 0, int)
        end = start + limit
        more = {"NextMarker": str(end)} if mappings[end:] else {}
        return {"EventSourceMappings": mappings[start:end], **more}

    def _describe_all(self) -> dict[str, dict[str, Any]]:
        return {mapping.uuid: mapping.describe() for mapping in self._mappings.values()}

    def _update(self, mapping: EventSourceMapping, request: dict[str, Any]) -> dict[str, Any]:
        _refuse_in_transition(mapping, "update")
        its_options = options.merge(request, mapping.options)
        function = self._functions.find(mapping.function_arn)
        if function and (problem := options.destination_problem(request, function.role)):
            raise invalid(problem)
        if request.get("FunctionName"):
            account = mapping.function_arn.split(":")[4]
            function_arn, _ = self._function(request["FunctionName"], mapping.stream.region, account)
            self._refuse_duplicate(mapping.stream, function_arn, besides=mapping.uuid)
            mapping.function_arn = function_arn
        was_enabled = mapping.state == "Enabled"
        enabled = was_enabled if request.get("Enabled") is None else request["Enabled"]
        mapping.options = its_options
        mapping.modified = time.time()
        mapping.state = "Updating" if enabled == was_enabled else "Enabling" if enabled else "Disabling"
        self._stop_poller(mapping)
        description = mapping.describe()
        delays.schedule("mapping-updating", lambda: self._finish(mapping, enabled=enabled))
        return description

    def _delete(self, mapping: EventSourceMapping) -> dict[str, Any]:
        _refuse_in_transition(mapping, "delete")
        mapping.state = "Deleting"
        self._stop_poller(mapping)
        delays.schedule("mapping-deleting", lambda: self._remove(mapping))
        return mapping.describe()

    def _finish(self, mapping: EventSourceMapping, *, enabled: bool) -> None:
        """End the transition. An enabled mapping starts to poll. A disabled one keeps its checkpoints."""
        with self._lock:
            mapping.state = "Enabled" if enabled else "Disabled"
            self._history.record("", self._describe_all)
            if not enabled:
                return
            poller = Poller(mapping, self._functions, self._discard, self._pollers.get(mapping.uuid))
            self._pollers[mapping.uuid] = poller
            if mapping.checkpoints or mapping.starting_position == "TRIM_HORIZON":
                poller.start()
            else:
                delays.schedule("mapping-latest-effective", poller.start)

    def _stop_poller(self, mapping: EventSourceMapping) -> None:
        if poller := self._pollers.get(mapping.uuid):
            poller.stop()

    def _remove(self, mapping: EventSourceMapping) -> None:
        with self._lock:
            self._mappings.pop(mapping.uuid, None)
            self._history.record("", self._describe_all)
            self._pollers.pop(mapping.uuid, None)

    def _find(self, mapping_id: str, account: str) -> EventSourceMapping:
        mapping = self._mappings.get(mapping_id)
        if not mapping or mapping.function_arn.split(":")[4] != account:
            raise AwsError("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return mapping

    def _function(self, name: str | None, region: str, account: str) -> tuple[str, str]:
        """Return the function's ARN, with the qualifier in the request, and the ARN of its role."""
        function = self._functions.find(name, region, account) if name else None
        if not name or not function or function.account_id != account:
            raise invalid("Function does not exist")
        return names.parse(name).arn(region, account), function.role


def _refuse_in_transition(mapping: EventSourceMapping, call: str) -> None:
    if mapping.state not in ("Enabled", "Disabled"):
        raise AwsError("ResourceInUseException", f"Cannot {call} the event source mapping because it is in use.")


def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.get_data() or b"{}")
    return body


def _stream_arn(request: dict[str, Any]) -> str:
    arn = request.get("EventSourceArn")
    if not arn:
        raise invalid("Unrecognized event source.")
    if not _STREAM_ARN.fullmatch(arn):
        raise invalid(f"EventSourceArn {arn} is not supported here: this AWS has mappings of DynamoDB streams only")
    return str(arn)


def _stream(arn: str, role_arn: str) -> Stream:
    """Return a stream that the role may read."""
    stream = find_stream(arn)
    if not stream:
        raise invalid(f"Stream not found: {arn}")
    if problem := stream_access_problem(arn, role_arn):
        raise invalid(problem)
    return stream


def _invokes(function_arn: str, name_or_arn: str) -> bool:
    """Whether that is exactly the function, version or alias of an ARN."""
    return names.parse(name_or_arn)[2:] == names.parse(function_arn)[2:]
