"""An Engram in Python that does the same as the Go Engram beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bubu_sdk import Context, engram

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass
class Inputs:
    name: str = ""


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    if not inputs.name:
        raise ValueError("inputs.name is missing")
    return {
        "greeting": f"hello {inputs.name}",
        "secretLength": len(ctx.secrets["token"]),
        "secretAt": os.environ["BUBU_SECRET_api"].removeprefix("file:"),  # noqa: SIM112 - the name of the secret
        "namespace": (SERVICE_ACCOUNT / "namespace").read_text(),
        "step": ctx.step,
        "account": os.environ["BUBU_SERVICE_ACCOUNT_NAME"],
        "executionMode": os.environ["BUBU_EXECUTION_MODE"],
    }


if __name__ == "__main__":
    main.run()
