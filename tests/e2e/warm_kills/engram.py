"""The engram whose processes are killed: it notes while it works. ``python engram.py FILE``."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from bubu_sdk import engram

BEATS = 4
BEAT_SECONDS = 0.02


@engram
def main(inputs: dict[str, Any]) -> dict[str, Any]:
    """What it was given, after a moment of work."""
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for _ in range(BEATS):
        line = {"stepRun": os.environ["BUBU_STEPRUN_NAME"], "process": os.getpid(), "at": time.time()}  # noqa: TID251 - a container has no other clock
        os.write(file, json.dumps(line).encode() + b"\n")  # at once, so that lines of processes do not mix
        time.sleep(BEAT_SECONDS)
    os.close(file)
    return {"given": inputs.get("given")}


if __name__ == "__main__":
    main.run()
