"""An Engram with the SDK that greets, and records its start in the file that it is given."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    name: str = ""


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    return {"greeting": f"hello {inputs.name}", "step": ctx.step}


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a") as executions:
        executions.write(f"{os.environ['BUBU_STORYRUN_ID']}/{os.environ['BUBU_STEP_NAME']}\n")
    os.environ["BUBU_K8S_PATCH_MAX_RETRIES"] = "20"  # in some tests the API server is away for seconds
    main.run()
