"""Write Engrams and Impulses in Python: a function becomes a step of a bobrapet Story, or starts Stories.

from bubu_sdk import Context, engram

@engram
def main(ctx: Context, inputs: dict) -> dict:
    return {"greeting": f"hello {inputs['name']}"}

if __name__ == "__main__":
    main.run()

What belongs to one kind of container is imported when it is first used, so the others start as fast as without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bubu_sdk.engram import Engram, engram, run
from bubu_sdk.errors import (
    EffectInProgressError,
    EffectLostError,
    EngramError,
    ErrorType,
    ExitClass,
    InputError,
    StorageError,
)

if TYPE_CHECKING:
    from bubu_sdk.artifact import Artifact
    from bubu_sdk.context import AsyncContext, Context
    from bubu_sdk.effects import EffectLease, EffectOutcome
    from bubu_sdk.impulse_context import AsyncImpulseContext, ImpulseContext
    from bubu_sdk.impulses import Impulse, impulse
    from bubu_sdk.secret import Secrets
    from bubu_sdk.sessions import Session
    from bubu_sdk.signals import text_envelope as text_signal
    from bubu_sdk.storyruns import StartedRun
    from bubu_sdk.storytrigger import Outcome, TriggerDecision
    from bubu_sdk.streaming.context import AsyncStreamContext, StreamContext
    from bubu_sdk.streaming.messages import AsyncMessages, Message, Messages
    from bubu_sdk.streaming.packets import Audio, Binary, Packet, Video
    from bubu_sdk.streams import StreamFunction, stream
    from bubu_sdk.trigger_errors import (
        SessionActiveError,
        SessionError,
        SessionMissingError,
        TriggerCancelledError,
        TriggerConflictError,
        TriggerError,
        TriggerMissingError,
        TriggerPendingError,
        TriggerPolicyError,
        TriggerRefusedError,
        TriggerRejectedError,
        TriggerThrottledError,
        TriggerUnavailableError,
    )

__all__ = [
    "Artifact",
    "AsyncContext",
    "AsyncImpulseContext",
    "AsyncMessages",
    "AsyncStreamContext",
    "Audio",
    "Binary",
    "Context",
    "EffectInProgressError",
    "EffectLease",
    "EffectLostError",
    "EffectOutcome",
    "Engram",
    "EngramError",
    "ErrorType",
    "ExitClass",
    "Impulse",
    "ImpulseContext",
    "InputError",
    "Message",
    "Messages",
    "Outcome",
    "Packet",
    "Secrets",
    "Session",
    "SessionActiveError",
    "SessionError",
    "SessionMissingError",
    "StartedRun",
    "StorageError",
    "StreamContext",
    "StreamFunction",
    "TriggerCancelledError",
    "TriggerConflictError",
    "TriggerDecision",
    "TriggerError",
    "TriggerMissingError",
    "TriggerPendingError",
    "TriggerPolicyError",
    "TriggerRefusedError",
    "TriggerRejectedError",
    "TriggerThrottledError",
    "TriggerUnavailableError",
    "Video",
    "engram",
    "impulse",
    "run",
    "stream",
    "text_signal",
]

_LATER = {
    "Artifact": "artifact",
    **dict.fromkeys(("AsyncContext", "Context"), "context"),
    **dict.fromkeys(("EffectLease", "EffectOutcome"), "effects"),
    "Secrets": "secret",
    "text_signal": "signals",
    **dict.fromkeys(("Impulse", "impulse"), "impulses"),
    **dict.fromkeys(("AsyncImpulseContext", "ImpulseContext"), "impulse_context"),
    **dict.fromkeys(("Outcome", "TriggerDecision"), "storytrigger"),
    **dict.fromkeys(("AsyncStreamContext", "StreamContext"), "streaming.context"),
    **dict.fromkeys(("StreamFunction", "stream"), "streams"),
    **dict.fromkeys(("AsyncMessages", "Message", "Messages"), "streaming.messages"),
    **dict.fromkeys(("Audio", "Binary", "Packet", "Video"), "streaming.packets"),
    "Session": "sessions",
    "StartedRun": "storyruns",
}

_NAMES = {"text_signal": "text_envelope"}
"""Names that differ in their modules."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"{__name__}.{_LATER.get(name, 'trigger_errors')}")
    return getattr(module, _NAMES.get(name, name))
