"""The state of one event source mapping, and how far it has read the stream."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localaws.dynamodb.stream import Stream


@dataclass
class Checkpoint:
    """How far one worker has processed the stream: up to `offset`.

    `window` is the start of the tumbling window that is open there, in seconds since 1970, or None. The window is
    `window_seconds` long, and `state` is what the function returned in it.
    """

    offset: int
    window_seconds: int = 0
    window: int | None = None
    state: dict[str, Any] = field(default_factory=dict)


@dataclass
class EventSourceMapping:
    """An event source mapping. It has one checkpoint per worker, and none until polling starts for the first time."""

    function_arn: str
    stream: Stream
    starting_position: str
    options: dict[str, Any]
    state: str = "Creating"
    result: str = "No records processed"
    tags: dict[str, str] = field(default_factory=dict)
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    modified: float = field(default_factory=time.time)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def arn(self) -> str:
        """The ARN of the mapping itself."""
        return f"{self.function_arn.partition(':function:')[0]}:event-source-mapping:{self.uuid}"

    def describe(self) -> dict[str, Any]:
        """The mapping as the API returns it."""
        return {
            **self.options,
            "EventSourceArn": self.stream.arn,
            "EventSourceMappingArn": self.arn,
            "FunctionArn": self.function_arn,
            "LastModified": self.modified,
            "LastProcessingResult": self.result,
            "StartingPosition": self.starting_position,
            "State": self.state,
            "StateTransitionReason": "User action",
            "UUID": self.uuid,
        }
