"""The API of event source mappings: Create, Get, List, Update, Delete, and a mapping's tags.

It is answered here and never by moto: once moto knows of a mapping, each write to the table tries to start Docker and
empties the stream. Lambda API reference, the calls' own names.
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

from localaws import delays
from localaws.dynamodb.stream import find
from localaws.iam import authorization
from localaws.mappings.options import Invalid, Mapping, options, starting_position, unreadable
from localaws.mappings.poller import Poller

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from localaws.dynamodb.stream import Journal
    from localaws.lambda_.functions import Functions
    from localaws.mappings.poller import Discard

_PATH = re.compile(r"/2015-03-31/event-source-mappings(?:/(?P<uuid>[^/]+))?/?")
_TAGS_PATH = re.compile(r"/2017-03-31/tags/(?P<arn>.+:event-source-mapping:(?P<uuid>[^/]+))")
_FUNCTION = re.compile(r"(?:.*:function:)?(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?")
_MOST_LISTED = 10_000


class Mappings:
    """All event source mappings of the embedded AWS, with their pollers.

    `functions` runs the code, `discard` is told of the batches that are given up (see `Poller`).
    """

    def __init__(self, functions: Functions, discard: Discard) -> None:
        self._functions = functions
        self._discard = discard
        self._lock = threading.RLock()
        self._mappings: dict[str, Mapping] = {}
        self._pollers: dict[str, Poller] = {}

    def answer(self, request: Request) -> Response | None:
        """Answer a call about event source mappings, None for any other."""
        path = unquote(request.path)
        if match := _TAGS_PATH.fullmatch(path):
            call = self._answer_tags
        elif match := _PATH.fullmatch(path):
            call = self._answer_mappings
        else:
            return None
        headers = {"x-amzn-RequestId": str(uuid.uuid4())}
        try:
            with self._lock:
                document, status = call(request, match["uuid"])
        except Invalid as invalid:
            headers["x-amzn-ErrorType"] = invalid.code
            document, status = {"Type": "User", "message": str(invalid)}, invalid.status
        body = "" if document is None else json.dumps(document)
        return Response(body, status, headers, mimetype="application/json")

    def _answer_mappings(self, request: Request, mapping_id: str | None) -> tuple[dict[str, Any] | None, int]:
        if mapping_id is None:
            return (self._create(_body(request)), 202) if request.method == "POST" else (self._list(request), 200)
        mapping = self._find(mapping_id)
        if request.method == "PUT":
            return self._update(mapping, _body(request)), 202
        if request.method == "DELETE":
            return self._delete(mapping), 202
        return mapping.describe(), 200

    def _answer_tags(self, request: Request, mapping_id: str) -> tuple[dict[str, Any] | None, int]:
        mapping = self._find(mapping_id)
        if request.method == "GET":
            return {"Tags": mapping.tags}, 200
        if request.method == "POST":
            mapping.tags |= _body(request).get("Tags") or {}
        for key in request.args.getlist("tagKeys"):
            mapping.tags.pop(key, None)
        return None, 204

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        stream_arn = _dynamodb_source(request)
        wanted = options(request)
        position = starting_position(request)
        function_arn, role = self._function(request.get("FunctionName"), stream_arn.split(":")[3])
        mapping = Mapping(function_arn, _stream(stream_arn, role), position, wanted, tags=request.get("Tags") or {})
        for other in self._mappings.values():
            if other.journal is mapping.journal and other.function_arn == function_arn:
                raise Invalid(
                    f'The event source arn (" {stream_arn} ") and function (" {function_arn.split(":")[6]} ") provided '
                    f"mapping already exists. Please update or delete the existing mapping with UUID {other.uuid}",
                    "ResourceConflictException",
                    409,
                )
        self._mappings[mapping.uuid] = mapping
        enabled = request.get("Enabled", True)
        answered = mapping.describe()
        delays.after("mapping-creating", lambda: self._settle(mapping, enabled=enabled))
        return answered

    def _list(self, request: Request) -> dict[str, Any]:
        source, function = request.args.get("EventSourceArn"), request.args.get("FunctionName")
        most = int(request.args.get("MaxItems", 100))
        found = [
            mapping.describe()
            for mapping in self._mappings.values()
            if mapping.journal.region == authorization.region(request)
            and source in (None, mapping.journal.arn)
            and (function is None or _is_of(mapping, function))
        ]
        start = int(request.args.get("Marker") or 0)
        end = start + min(max(most, 1), _MOST_LISTED)
        more = {"NextMarker": str(end)} if found[end:] else {}
        return {"EventSourceMappings": found[start:end], **more}

    def _update(self, mapping: Mapping, request: dict[str, Any]) -> dict[str, Any]:
        if mapping.state not in ("Enabled", "Disabled"):
            raise Invalid(_IN_USE.format("update"), "ResourceInUseException")
        wanted = options(request, before=mapping.options)
        if request.get("FunctionName"):
            mapping.function_arn, _ = self._function(request["FunctionName"], mapping.journal.region)
        was_enabled = mapping.state == "Enabled"
        enabled = was_enabled if request.get("Enabled") is None else request["Enabled"]
        mapping.options = wanted
        mapping.modified = time.time()
        mapping.state = "Updating" if enabled == was_enabled else "Enabling" if enabled else "Disabling"
        self._stop(mapping)
        answered = mapping.describe()
        delays.after("mapping-creating", lambda: self._settle(mapping, enabled=enabled))
        return answered

    def _delete(self, mapping: Mapping) -> dict[str, Any]:
        if mapping.state not in ("Enabled", "Disabled"):
            raise Invalid(_IN_USE.format("delete"), "ResourceInUseException")
        mapping.state = "Deleting"
        self._stop(mapping)
        delays.after("mapping-deleting", lambda: self._forget(mapping))
        return mapping.describe()

    def _settle(self, mapping: Mapping, *, enabled: bool) -> None:
        """End the transition: the mapping polls, or it is disabled and keeps its place."""
        with self._lock:
            mapping.state = "Enabled" if enabled else "Disabled"
            if not enabled:
                return
            poller = Poller(mapping, self._functions, self._discard, self._pollers.get(mapping.uuid))
            self._pollers[mapping.uuid] = poller
            if mapping.lanes or mapping.starting_position == "TRIM_HORIZON":
                poller.start()
            else:
                delays.after("mapping-latest-effective", poller.start)

    def _stop(self, mapping: Mapping) -> None:
        if poller := self._pollers.get(mapping.uuid):
            poller.stop()

    def _forget(self, mapping: Mapping) -> None:
        with self._lock:
            self._mappings.pop(mapping.uuid, None)
            self._pollers.pop(mapping.uuid, None)

    def _find(self, mapping_id: str) -> Mapping:
        mapping = self._mappings.get(mapping_id)
        if not mapping:
            raise Invalid("The resource you requested does not exist.", "ResourceNotFoundException", 404)
        return mapping

    def _function(self, name: str | None, region: str) -> tuple[str, str]:
        """The function's ARN, with the qualifier that was given, and the ARN of its role."""
        function = self._functions.find(name, region) if name else None
        if not name or not function:
            raise Invalid("Function does not exist")
        _, qualifier = _parts(name)
        arn = ":".join(function.function_arn.split(":")[:7])
        return f"{arn}:{qualifier}" if qualifier else arn, function.role


_IN_USE = "Cannot {} the event source mapping because it is in use."


def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.get_data() or b"{}")
    return body


def _dynamodb_source(request: dict[str, Any]) -> str:
    arn = request.get("EventSourceArn")
    if not arn:
        raise Invalid("Unrecognized event source.")
    if not re.fullmatch(r"arn:[\w-]+:dynamodb:[\w-]+:\d{12}:table/[\w.-]+/stream/.+", arn):
        raise Invalid(f"EventSourceArn {arn} is not supported here: this AWS has mappings of DynamoDB streams only")
    return str(arn)


def _stream(arn: str, role_arn: str) -> Journal:
    """The journal of a stream that the role may read."""
    stream = find(arn)
    if not stream:
        raise Invalid(f"Stream not found: {arn}")
    if problem := unreadable(arn, role_arn):
        raise Invalid(problem)
    return stream


def _parts(name_or_arn: str) -> tuple[str, str]:
    """Name and qualifier (or "") of a function that is given by its name, its ARN or a part of that."""
    match = _FUNCTION.fullmatch(name_or_arn)
    return (match["name"], match["qualifier"] or "") if match else ("", "")


def _is_of(mapping: Mapping, name_or_arn: str) -> bool:
    """Whether a mapping invokes that function; a qualifier, when given, has to be the same."""
    name, qualifier = _parts(name_or_arn)
    mapped_name, mapped_qualifier = _parts(mapping.function_arn)
    return name == mapped_name and qualifier in ("", mapped_qualifier)
