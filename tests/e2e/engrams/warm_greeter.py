"""An Engram with the SDK, for warm workers: greets after some seconds, or when a file is there, and records each
start in the file ``EXECUTIONS``.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    name: str = ""
    seconds: float = 0.0
    file: str = ""


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    with Path(os.environ["EXECUTIONS"]).open("a") as executions:
        executions.write(f"{os.environ['BUBU_STORYRUN_ID']}/{os.environ['BUBU_STEP_NAME']} {os.getpid()}\n")
    time.sleep(inputs.seconds)
    while inputs.file and not Path(inputs.file).exists():
        time.sleep(0.1)
    return {"greeting": f"hello {inputs.name}", "step": ctx.step}


if __name__ == "__main__":
    main.run()
