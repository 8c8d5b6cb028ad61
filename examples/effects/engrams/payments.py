"""Stands for a payment service: a file with a line for each call; it charges once for each idempotency key."""

from __future__ import annotations

import json
from pathlib import Path


def charge(service: Path, order: str, amount: int, idempotency_key: str) -> str:
    """The receipt of the charge; the same for each call with the same key."""
    service.parent.mkdir(parents=True, exist_ok=True)
    calls = [json.loads(line) for line in service.read_text().splitlines()] if service.exists() else []
    known = next((call for call in calls if call["key"] == idempotency_key), None)
    receipt = known["receipt"] if known else f"ch_{len(calls) + 1}"
    call = {"receipt": receipt, "order": order, "amount": amount, "key": idempotency_key, "charged": known is None}
    with service.open("a") as stream:
        stream.write(json.dumps(call) + "\n")
    return str(receipt)
