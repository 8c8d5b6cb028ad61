"""The Engram of ``bench.warm_waves``: works as long as it is told."""

from __future__ import annotations

import time
from typing import Any

from bubu_sdk import engram


@engram
def main(inputs: dict[str, Any]) -> dict[str, Any]:
    time.sleep(inputs["seconds"])
    return {}


if __name__ == "__main__":
    main.run()
