"""Charges a card once. On request its first attempt is killed at a bad moment, to show what happens then."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import payments

from bubu_sdk import Context, EffectLease, engram


@dataclass
class Inputs:
    payments: str
    order: str
    amount: int
    lease: int = 600
    crash: str = "never"


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    def charge(lease: EffectLease) -> dict[str, str]:
        _die_if(ctx, inputs, "before")
        receipt = payments.charge(Path(inputs.payments), inputs.order, inputs.amount, lease.idempotency_key)
        _die_if(ctx, inputs, "after")
        return {"receipt": receipt}

    outcome = ctx.execute_once("charge-card", charge, lease_seconds=inputs.lease)
    return {"receipt": outcome.details["receipt"], "charged": outcome.executed, "attempt": ctx.attempt}


def _die_if(ctx: Context, inputs: Inputs, moment: str) -> None:
    if inputs.crash == moment and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main.run()
