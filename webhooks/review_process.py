"""A program that examines one review after the other, in a process that can be killed; see ``core.evaluation.worker``.

``python review_process.py MEMORY_BYTES PACKAGE_ROOT``. A request is ``{"hook": path, "review": the AdmissionReview,
"operator", "settings", "policy", "cpu_seconds"}``, its answer a decision as ``webhooks.decision`` writes it. The
process has no other objects: it requests each with ``["find", kind, namespace, name]``, or ``["grants", namespace]``.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from core.evaluation.worker import Answer, Ask

NICENESS: Final = 3
"""Small reviews have precedence, but a user waits for this one, too."""


def prepare(ask: Ask) -> Answer:
    """The function that answers one request."""
    from webhooks import decision, review
    from webhooks.registration import HOOKS
    from webhooks.remote_view import RemoteView

    hooks = {hook.path: hook for hook in HOOKS}
    gc.freeze()  # loaded modules stay, so the collector need not visit them

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        if "hook" not in question:
            return {}  # the caller only wanted to start the process
        hook = hooks[question["hook"]]
        asked = review.review_of(question["review"], hook)
        world = RemoteView(ask, question["settings"], question["policy"])
        return decision.to_json(decision.decide(hook, asked, world, question["operator"]))

    return answer


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2])
    from core.evaluation import worker

    sys.exit(worker.serve(prepare, NICENESS))
