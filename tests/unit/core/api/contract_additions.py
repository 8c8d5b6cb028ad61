"""What our CRDs say beyond the contract, each with its reason. Everything else must be equal, path by path.

A key is ``(kind, what)``: ``what`` is a schema path such as ``.spec.x``, ``columns`` or ``selectableFields``.
"""

from __future__ import annotations

ADDITIONS = {
    ("StepRun", ".status.retries"): (
        "its default 0: a program may report before the operator's first write, and the Go SDK sends no retries"
    ),
    ("Transport", "columns"): "kubectl get transports shows provider, driver, state and use instead of names only",
}
