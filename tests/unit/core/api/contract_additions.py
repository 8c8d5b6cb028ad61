"""What our CRDs contain beyond the contract, each with its reason. Everything else must be equal, path by path.

A key is ``(kind, what)``: ``what`` is a schema path such as ``.spec.x``, ``columns`` or ``selectableFields``.
"""

from __future__ import annotations

import json
from pathlib import Path

ADDITIONS = {
    ("Story", ".spec.policy.timeouts.cleanup"): "what undoes and tidies up must end, too",
    ("StoryRun", ".status.stepStates{}.reason"): "why a step is in its phase; a message may be anybody's text",
    ("StoryRun", ".status.stepStates{}.reasonSince"): "since when the container of a step cannot start",
    ("StoryRun", ".status.stepStates{}.queuedAt"): "since when a step waited for a slot, for the trace of the run",
    ("StepRun", ".status.failedAttempts"): "what happened to the attempts before the last one",
    ("StepRun", ".status.failedAttempts[]"): "one of the newest sixteen",
    ("StepRun", ".status.failedAttempts[].number"): "0 for the first",
    ("StepRun", ".status.failedAttempts[].finishedAt"): "its end",
    ("StepRun", ".status.failedAttempts[].retryAt"): "when the next one was due",
    ("StepRun", ".status.failedAttempts[].exitCode"): "of its container",
    ("StepRun", ".status.failedAttempts[].message"): "its error",
    ("StepRun", ".status.failedAttempts[].obstacle"): "what it waited for when it timed out",
    ("StoryRun", ".status.observedUid"): "a run that was restored from a backup has another UID than its status says",
    ("StoryRun", ".status.storyRevision"): "a run executes the Story as it stood when it began, and says where it is",
    ("StoryRun", ".status.gates{}.data"): "whoever approves may give texts along, which later steps read",
    ("StoryRun", ".status.gates{}.data{}"): "such a text",
    **{
        ("Story", f".spec.{steps}[].{field}"): "a script can be a step"
        for steps in ("steps", "compensations", "finally")
        for field in ("run", "image", "shell", "shell[]")
    },
    ("Story", ".spec.streamingStrategy"): "the reference's documents promise it: a Story that is always on",
    ("Story", ".status.liveRun"): "the run that the operator keeps of such a Story",
    ("TransportBinding", ".status.stream"): "what the hub reports about the stream of the step",
    ("TransportBinding", ".status.stream.connected"): "whether a client, or the hub itself, serves it",
    ("TransportBinding", ".status.stream.connectedAt"): "since when",
    ("TransportBinding", ".status.stream.disconnectedAt"): "since when no client does",
    ("TransportBinding", ".status.stream.generation"): "of that client",
    ("TransportBinding", ".status.stream.received"): "messages of the step",
    ("TransportBinding", ".status.stream.delivered"): "messages to the step that it is done with",
    ("TransportBinding", ".status.stream.waiting"): "messages to it that the hub has",
    ("TransportBinding", ".status.stream.waitingPct"): "how full its buffer is",
    ("TransportBinding", ".status.stream.lost"): "messages that went nowhere",
    ("TransportBinding", ".status.stream.pausedBy"): "which steps block it",
    ("TransportBinding", ".status.stream.pausedBy[]"): "one of them",
    ("TransportBinding", ".status.stream.drained"): "whether it has got everything",
    ("TransportBinding", ".status.stream.trouble"): "why a message was refused",
    ("TransportBinding", ".status.stream.process"): "which process of a client was connected last",
    ("TransportBinding", ".status.stream.returning"): "since when a source asks to connect again",
    ("TransportBinding", ".status.stream.lastRefusal"): "the last client that was refused",
    ("TransportBinding", ".status.stream.lastRefusal.reason"): "why, for programs",
    ("TransportBinding", ".status.stream.lastRefusal.message"): "why, for people",
    ("TransportBinding", ".status.stream.lastRefusal.at"): "when",
    ("TransportBinding", ".status.stream.observedAt"): "when it was counted",
    ("TransportBinding", ".status.stream.console"): "where the hub answers commands about the packets of the step",
    ("TransportBinding", ".status.stream.console.address"): "its address",
    ("TransportBinding", ".status.stream.console.until"): "until when",
    ("StepRun", ".spec.script"): "the script of a script step, which has no Engram",
    ("StepRun", ".spec.script.run"): "its text",
    ("StepRun", ".spec.script.image"): "its image",
    ("StepRun", ".spec.script.shell"): "what runs it",
    ("StepRun", ".spec.script.shell[]"): "one word of it",
    ("StepRun", ".spec.executor"): "who carries out the attempts; whoever goes on with a step must find that out",
    ("StepRun", ".status.attempt"): "which attempt has been started, where any executor can read it",
    ("StepRun", ".status.attempt.number"): "its number",
    ("StepRun", ".status.attempt.deadlineAt"): "when it is ended; before, only the annotation of its Job said so",
    ("StepRun", ".status.attempt.worker"): "which worker it is assigned to",
    ("StepRun", ".status.attempt.key"): "by which a later run recognizes an equal execution",
    ("StepRun", ".status.workerExit"): "that the process of a warm worker has ended, so the next attempt may start",
    ("StepRun", ".status.workerExit.attempt"): "of which attempt",
    ("StepRun", ".status.workerExit.exitCode"): "how",
    ("StepRun", ".status.workerExit.finishedAt"): "when",
    ("StepRun", ".status.retries"): (
        "its default 0: a program may report before the operator's first write, and the Go SDK sends no retries"
    ),
    ("EngramTemplate", ".spec.container"): "an image without an SDK can be a step",
    ("EngramTemplate", ".spec.container.args"): "what it is called with, from the inputs of the step",
    ("EngramTemplate", ".spec.container.args[]"): "one argument",
    ("EngramTemplate", ".spec.container.command"): "its program, if it is not that of the image",
    ("EngramTemplate", ".spec.container.command[]"): "one word of it",
    ("EngramTemplate", ".spec.container.env"): "variables from the inputs of the step",
    ("EngramTemplate", ".spec.container.env[]"): "one of them",
    ("EngramTemplate", ".spec.container.env[].name"): "its name",
    ("EngramTemplate", ".spec.container.env[].value"): "its value, a template",
    ("EngramTemplate", ".spec.container.inputsFile"): "the inputs as a file",
    ("EngramTemplate", ".spec.container.result"): "where the output comes from, since nothing reports it",
    ("EngramTemplate", ".spec.container.result.from"): "the place",
    ("EngramTemplate", ".spec.container.result.path"): "the file, if it is one",
    ("EngramTemplate", ".spec.container.result.format"): "JSON or text",
    ("EngramTemplate", ".spec.container.exitCodes"): "programs have exit codes of their own",
    ("EngramTemplate", ".spec.container.exitCodes.retry"): "those that are retried",
    ("EngramTemplate", ".spec.container.exitCodes.retry[]"): "one of them",
    ("EngramTemplate", ".spec.container.exitCodes.terminal"): "those that never are",
    ("EngramTemplate", ".spec.container.exitCodes.terminal[]"): "one of them",
    ("EngramTemplate", ".spec.container.exitCodes.rateLimited"): "those that are retried as a rate limit",
    ("EngramTemplate", ".spec.container.exitCodes.rateLimited[]"): "one of them",
    ("Impulse", ".status.counted"): "counters do not fall when old StoryTriggers are removed",
    ("Impulse", ".status.counted.received"): "such a total",
    ("Impulse", ".status.counted.launched"): "such a total",
    ("Impulse", ".status.counted.failed"): "such a total",
    ("Impulse", ".status.counted.through"): "up to when the totals have everything",
    ("TransportBinding", ".spec.inputSchema"): "the hub checks messages, and need not read Engrams and templates",
    ("TransportBinding", ".spec.outputSchema"): "the same; a template that is edited does not change a run",
    ("StepRun", "columns"): "kubectl get stepruns -o wide shows which outputs come from the cache",
    ("Impulse", "columns"): "kubectl get impulses also shows why one is down; -o wide what it has started, in words",
    ("Transport", "columns"): "kubectl get transports shows provider, driver, state and use instead of names only",
}

_NEEDS = {
    ".imagePullSecrets": "private images need a Secret, and the account of a run has none",
    ".imagePullSecrets[]": "its name",
    ".priorityClassName": "long training must not evict short work, nor wait behind it",
    ".runtimeClassName": "GPUs often need a runtime of their own",
    ".sharedMemory": "data loaders of several processes need more than the 64 MiB of most runtimes",
    ".volumes": "models and data sets do not fit into an image or an input",
    ".volumes[]": "one of them",
    ".volumes[].configMap": "its source: a ConfigMap",
    ".volumes[].configMap.name": "its name",
    ".volumes[].configMap.optional": "whether it may be missing",
    ".volumes[].emptyDir": "its source: scratch space",
    ".volumes[].emptyDir.medium": "disk or memory",
    ".volumes[].emptyDir.sizeLimit": "its largest size",
    ".volumes[].mountPath": "where the container sees it",
    ".volumes[].name": "its name, by which layers are merged",
    ".volumes[].persistentVolumeClaim": "its source: a claim",
    ".volumes[].persistentVolumeClaim.claimName": "its name",
    ".volumes[].persistentVolumeClaim.readOnly": "attached read-only",
    ".volumes[].readOnly": "mounted read-only",
    ".volumes[].subPath": "a part of it",
}
_EXTENDED = {"": "GPUs and other devices", "{}": "how many"}
_LOCAL_DISK = {
    ".ephemeralStorageLimit": "scratch space has a limit, too",
    ".ephemeralStorageRequest": "and is reserved",
}
_RESOURCES = {f".extended{path}": why for path, why in _EXTENDED.items()} | _LOCAL_DISK
_WHOLE_RESOURCES = _RESOURCES | {
    "": "a step may need more than its Engram",
    **{f".{kind}{end}": "an amount" for kind in ("cpu", "memory") for end in ("Limit", "Request")},
}
_OVERRIDES = (
    ("Engram", ".spec.overrides"),
    ("Impulse", ".spec.execution"),
    *(("Story", f".spec.{steps}[].execution") for steps in ("steps", "compensations", "finally")),
)
_POLICIES = (("Engram", ".spec.executionPolicy"), ("Story", ".spec.policy.execution"))
_TEMPLATES = (("EngramTemplate", ".spec.execution"), ("ImpulseTemplate", ".spec.execution"))
_STEP_RUN = ("StepRun", ".spec.executionOverrides")

_CACHED = ".status.cachedFrom"
ADDITIONS |= {
    ("StepRun", ".status.cached"): "whether the output comes from the cache; the contract has an annotation only",
    ("StepRun", _CACHED): "and from which execution",
    ("StepRun", f"{_CACHED}.key"): "what it has in common with it",
    ("StepRun", f"{_CACHED}.stepRun"): "its StepRun",
    ("StepRun", f"{_CACHED}.storyRun"): "its StoryRun",
    ("StepRun", f"{_CACHED}.storedAt"): "when that was",
}
for _kind, _place in (*_OVERRIDES, ("Engram", ".spec.executionPolicy"), ("Story", ".spec.policy.execution"), _STEP_RUN):
    ADDITIONS |= {(_kind, f"{_place}.cache.inFlight"): "equal steps at the same time need not all execute"}
for _kind, _place in (*_OVERRIDES, *_POLICIES, *_TEMPLATES, _STEP_RUN):
    ADDITIONS |= {(_kind, f"{_place}{path}"): why for path, why in _NEEDS.items()}
for _kind, _place in _OVERRIDES:
    ADDITIONS |= {(_kind, f"{_place}.resources{path}"): why for path, why in _WHOLE_RESOURCES.items()}
for _kind, _place in _POLICIES:
    ADDITIONS |= {(_kind, f"{_place}.resources{path}"): why for path, why in _RESOURCES.items()}
for _kind, _place in _TEMPLATES:
    _found = {f".extended{path}": why for path, why in _EXTENDED.items()} | {
        ".recommendedEphemeralStorageLimit": "scratch space has a limit, too",
        ".recommendedEphemeralStorageRequest": "and is reserved",
    }
    ADDITIONS |= {(_kind, f"{_place}.resources{path}"): why for path, why in _found.items()}
ADDITIONS |= {(*_STEP_RUN[:1], f"{_STEP_RUN[1]}.extendedResources{path}"): why for path, why in _EXTENDED.items()}
ADDITIONS |= {(*_STEP_RUN[:1], f"{_STEP_RUN[1]}{path}"): why for path, why in _LOCAL_DISK.items()}
_PLACED_IN_POLICY = ".spec.policy.execution.placement"
_CONTRACT = json.loads(Path(__file__).with_name("contract_inventory.json").read_text(encoding="utf-8"))
for _path in _CONTRACT["Story"]["paths"]:
    if _path.startswith(_PLACED_IN_POLICY):
        _same = f".spec.execution.placement{_path.removeprefix(_PLACED_IN_POLICY)}"
        ADDITIONS |= {
            (_kind, _same): "the image decides which nodes it needs, as in a Story" for _kind, _ in _TEMPLATES
        }

_WARM = {
    "": "workers that are kept ready for the steps",
    ".concurrencyPerWorker": "steps that one of them executes at a time",
    ".enabled": "a step may need a Job all the same",
    ".idleTimeout": "after which there is none",
    ".isolation": "whether a step has a process of its own",
    ".maxReplicas": "how many there are at most",
    ".replicas": "how many there are while there is work",
}
for _kind, _place in (*_OVERRIDES, *_POLICIES, *_TEMPLATES):
    ADDITIONS |= {(_kind, f"{_place}.warm{path}"): why for path, why in _WARM.items()}

ADDITIONS |= {
    ("TransportBinding", ".status.stream.receivedPerMinute"): "how fast messages of the step come",
    ("TransportBinding", ".status.stream.deliveredPerMinute"): "how fast messages to it go",
}

_RETRIES = (
    *((kind, f"{place}.retry") for kind, place in (*_OVERRIDES, *_POLICIES)),
    ("Story", ".spec.policy.retries.stepRetryPolicy"),
    ("StepRun", ".spec.retry"),
)
for _kind, _place in _RETRIES:
    ADDITIONS |= {
        (_kind, f"{_place}.retryOn"): "people expect that a failure is retried, or some of them",
        (_kind, f"{_place}.retryOn[]"): "one of them",
    }
for _kind, _place in _TEMPLATES:
    ADDITIONS |= {
        (_kind, f"{_place}.retry.recommendedRetryOn"): "the author of an image knows which failures pass",
        (_kind, f"{_place}.retry.recommendedRetryOn[]"): "one of them",
    }
ADDITIONS |= {
    ("StepRun", ".status.error.exceptions"): "so that a retry policy can name an exception",
    ("StepRun", ".status.error.exceptions[]"): "a class of it",
    (
        "StepRun",
        ".status.error.forbidsRetry",
    ): "a program may know that no attempt helps; retryable is false by default",
}

CHANGES = {
    ("EngramTemplate", ".spec.supportedModes"): "an image may also serve as a warm worker, a fourth mode",
    ("EngramTemplate", ".spec.supportedModes[]"): "the word for it",
    ("Story", ".spec"): "a step may also be a script: exactly one of ref, type and run",
    ("StepRun", ".spec"): "a StepRun has either an Engram or a script",
    ("Impulse", ".spec.workload.mode"): (
        "no default: `job` is refused for Impulses, so a `workload` without a mode could never be stored"
    ),
}
"""Where our CRDs deliberately say something else than the contract."""
