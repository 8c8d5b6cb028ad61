"""What our CRDs contain beyond the contract, each with its reason. Everything else must be equal, path by path.

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
    ("StepRun", ".spec.executor"): "who carries out the attempts; whoever goes on with a step must find that out",
    ("StepRun", ".status.attempt"): "which attempt has been started, where any executor can read it",
    ("StepRun", ".status.attempt.number"): "its number",
    ("StepRun", ".status.attempt.deadlineAt"): "when it is ended; before, only the annotation of its Job said so",
    ("StepRun", ".status.attempt.worker"): "which worker it is assigned to",
    ("StepRun", ".status.retries"): (
        "its default 0: a program may report before the operator's first write, and the Go SDK sends no retries"
    ),
    ("Impulse", ".status.counted"): "counters do not fall when old StoryTriggers are removed",
    ("Impulse", ".status.counted.received"): "such a total",
    ("Impulse", ".status.counted.launched"): "such a total",
    ("Impulse", ".status.counted.failed"): "such a total",
    ("Impulse", ".status.counted.through"): "up to when the totals have everything",
    ("Impulse", "columns"): "kubectl get impulses also shows why one is down; -o wide what it has started, in words",
    ("Transport", "columns"): "kubectl get transports shows provider, driver, state and use instead of names only",
}

CHANGES = {
    ("Impulse", ".spec.workload.mode"): (
        "no default: `job` is refused for Impulses, so a `workload` without a mode could never be stored"
    ),
}
"""Where our CRDs deliberately say something else than the contract."""
