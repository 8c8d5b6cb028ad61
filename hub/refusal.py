"""Why a packet does not go to a step, although it came as far as that. Pure."""

from __future__ import annotations

from enum import StrEnum


class PacketRefusal(StrEnum):
    """Why a packet is lost on its way to a step. The names are labels of metrics."""

    INVALID = "invalid"
    """No receiver could understand it."""
    EMPTY = "empty"
    EXPRESSION = "expression"
    """``if``, ``runtime``, ``with`` or a rule has no value for it."""
    LIMIT = "limit"
    """Evaluating takes more time or memory, or gives more, than is allowed."""
    INPUT_SCHEMA = "input_schema"
    OUTPUT_SCHEMA = "output_schema"
    BUFFER_FULL = "buffer_full"
    """Producers do not wait, and too many packets wait to be evaluated."""
    MAX_DOWNSTREAMS = "max_downstreams"
    NO_JOIN_KEY = "no_join_key"
    """The step joins, and nothing says which packets belong together."""
    JOIN_TIMEOUT = "join_timeout"
    JOIN_FULL = "join_full"
    """The oldest incomplete group went for a newer one."""
    JOIN_REPLACED = "join_replaced"
    """The same branch has sent another packet of the same group."""
    CHILD_RUN = "child_run"
    """The StoryRun of an ``executeStory`` step could not be started, or has failed."""
    JOB = "job"
    """The Job that the packet starts at a step could not be started, or has failed."""


class PacketSkip(StrEnum):
    """Why a packet is not meant for a step: no loss."""

    CONDITION = "if"
    RULE = "rule"
    STOP = "stop"
    JOINED = "joined"
    """It has become part of a joined packet."""
    JOIN_LATE = "join_late"
    """Its group was complete without it."""


class PacketRefusedError(Exception):
    """The packet does not go to the step."""

    def __init__(self, reason: PacketRefusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class PacketSkippedError(Exception):
    """The packet is not meant for the step."""

    def __init__(self, reason: PacketSkip) -> None:
        super().__init__(reason)
        self.reason = reason
