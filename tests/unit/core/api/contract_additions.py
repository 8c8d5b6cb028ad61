"""What our CRDs say beyond the contract, each with its reason. Everything else must be equal, path by path.

A key is ``(kind, what)``: ``what`` is a schema path such as ``.spec.x``, ``columns`` or ``selectableFields``.
"""

from __future__ import annotations

ADDITIONS = {
    ("Story", ".spec.policy.timeouts.cleanup"): "what undoes and tidies up must end, too",
    ("StoryRun", ".status.stepStates{}.reason"): "why a step is in its phase; a message may be anybody's text",
    ("StoryRun", ".status.stepStates{}.reasonSince"): "since when the container of a step cannot start",
    ("StoryRun", ".status.storyRevision"): "a run executes the Story as it stood when it began, and says where it is",
    ("StoryRun", ".status.gates{}.data"): "whoever approves may give texts along, which later steps read",
    ("StoryRun", ".status.gates{}.data{}"): "such a text",
    ("StepRun", ".status.retries"): (
        "its default 0: a program may report before the operator's first write, and the Go SDK sends no retries"
    ),
    ("Transport", "columns"): "kubectl get transports shows provider, driver, state and use instead of names only",
}
