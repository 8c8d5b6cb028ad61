"""The program of the processes that answer questions about packets: see ``hub.questions`` and ``core.evaluation.pool``.

``python evaluation_worker.py MEMORY_BYTES PACKAGE_ROOT``, as ``core.evaluation.worker`` says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    """Answer questions until the input ends."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from core.evaluation.worker import serve

    return serve(_prepare)


def _prepare(_: Callable[[Any], Any]) -> Callable[[dict[str, Any]], Any]:
    from core.engine.clock import system_now
    from hub.questions import answer_of

    return lambda request: answer_of(request, system_now)


if __name__ == "__main__":
    sys.exit(main())
