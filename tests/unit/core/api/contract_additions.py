"""What our CRDs say beyond the contract, each with its reason. Everything else must be equal, path by path.

A key is ``(kind, what)``: ``what`` is a schema path such as ``.spec.x``, ``columns`` or ``selectableFields``.
"""

from __future__ import annotations

ADDITIONS = {
    ("Transport", "columns"): "kubectl get transports shows provider, driver, state and use instead of names only",
}
