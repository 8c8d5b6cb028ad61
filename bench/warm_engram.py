"""The engram that ``bench/warm.py`` runs: it returns when its function was entered. ``python bench/warm_engram.py``."""

from __future__ import annotations

import time
from typing import Any

from bubu_sdk import engram


@engram
def main(inputs: dict[str, Any]) -> dict[str, Any]:
    """The instant of its entry, and what it was given."""
    return {"entered": time.time(), "given": inputs.get("given")}


if __name__ == "__main__":
    main.run()
