"""Write Engrams in Python: a function becomes a step container of a bobrapet Story.

from bubu_sdk import Context, engram

@engram
def main(ctx: Context, inputs: dict) -> dict:
    return {"greeting": f"hello {inputs['name']}"}

if __name__ == "__main__":
    main.run()
"""

from bubu_sdk.context import AsyncContext, Context
from bubu_sdk.effects import EffectLease, EffectOutcome
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
from bubu_sdk.secret import Secrets
from bubu_sdk.signals import text_envelope as text_signal

__all__ = [
    "AsyncContext",
    "Context",
    "EffectInProgressError",
    "EffectLease",
    "EffectLostError",
    "EffectOutcome",
    "Engram",
    "EngramError",
    "ErrorType",
    "ExitClass",
    "InputError",
    "Secrets",
    "StorageError",
    "engram",
    "run",
    "text_signal",
]
