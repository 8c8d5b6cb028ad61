"""The engram whose processes are killed: it notes while it works. ``python engram.py FILE``."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from typing import Any

from bubu_sdk import engram

BEAT_SECONDS = 0.02
BEATS = 4
LONG_EVERY, LONG_BEATS = 25, 150
"""Each 25th item works for three seconds, so that a process which outlives its worker is seen beside the retry."""
ENDLESS = -1
"""Given to a step that works until it is ended."""


@engram
def main(inputs: dict[str, Any]) -> dict[str, Any]:
    """What it was given, after a moment of work."""
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    given = inputs["given"]
    beats = itertools.count() if given == ENDLESS else range(BEATS if given % LONG_EVERY else LONG_BEATS)
    for _ in beats:
        line = {"stepRun": os.environ["BUBU_STEPRUN_NAME"], "process": os.getpid(), "at": time.time()}  # noqa: TID251 - a container has no other clock
        os.write(file, json.dumps(line).encode() + b"\n")  # at once, so that lines of processes do not mix
        time.sleep(BEAT_SECONDS)
    os.close(file)
    return {"given": given}


if __name__ == "__main__":
    main.run()
