"""References into other namespaces while the operator's setting is ``deny``: policy ``references``.

With ``grant`` or ``allow`` nothing is refused here: only the admission server knows whether a ReferenceGrant allows it.
Without the ConfigMap nothing is refused either, because a policy cannot distinguish an absent ConfigMap from one that
the API server has not seen yet. The admission server, and the operator when it uses a reference, then apply ``deny``.
Source: admission contract 3.7; operator contract 3.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import STEP_LISTS
from core.api.resource import IMPULSE, STEP_RUN, STORY, STORY_RUN, STORY_TRIGGER, Resource
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import NOT_DELETED, SPEC_CHANGED, not_by_operator
from deployment.policies.policy import CREATE, SPECS, UPDATE, Check, Policy
from webhooks.validate import call, impulse, steprun, submission, worker

KEY: Final = "references.cross-namespace-policy"

_CALLS: Final = (
    "!has(s.type) || s.type != 'executeStory' || !has(s.with) || !has(s.with.storyRef) || type(s.with.storyRef) != map"
    " || !has(s.with.storyRef.namespace) || type(s.with.storyRef.namespace) != string"
    " || s.with.storyRef.namespace.trim() in ['', request.namespace]"
)
_REMEDY: Final = f"use one in the same namespace; {KEY} is deny"


def policy(installation: Installation) -> Policy:
    return Policy(
        "references",
        f"No reference to another namespace is allowed while {KEY} is deny.",
        tuple(_checks()),
        (NOT_DELETED, SPEC_CHANGED, not_by_operator(installation)),
        SPECS
        | {"denied": f"!has(params.data) || !('{KEY}' in params.data) || params.data['{KEY}'].trim() in ['', 'deny']"},
        reads_settings=True,
    )


def _checks() -> Iterator[Check]:
    for name in STEP_LISTS:
        yield _of_steps(name, "ref", _stays("s.ref"), worker.DENIED.id)
        yield _of_steps(name, "with.storyRef", _CALLS, call.DENIED.id)
    yield _of(IMPULSE, "storyRef", (CREATE, UPDATE), impulse.STORY_DENIED.id)
    for target in (STORY_RUN, STORY_TRIGGER):  # their references cannot change later
        yield _of(target, "storyRef", (CREATE,), submission.STORY_DENIED.id)
    yield _of(STEP_RUN, "storyRunRef", (CREATE, UPDATE), steprun.RUN_DENIED.id)
    yield _of(STEP_RUN, "engramRef", (CREATE, UPDATE), steprun.ENGRAM_DENIED.id)


def _of(target: Resource, field: str, operations: tuple[str, ...], rule: str) -> Check:
    path = f"variables.now.{field}"
    message = f"spec.{field}: refers to another namespace ({_REMEDY})"
    return Check(target, f"!variables.denied || {_stays(path)}", message, (rule,), operations)


def _of_steps(name: str, field: str, keeps_to: str, rule: str) -> Check:
    steps = f"variables.now.{name}"
    message = f"spec.{name}[].{field}: refers to another namespace ({_REMEDY})"
    return Check(STORY, f"!variables.denied || !has({steps}) || {steps}.all(s, {keeps_to})", message, (rule,))


def _stays(path: str) -> str:
    return f"!has({path}) || !has({path}.namespace) || {path}.namespace in ['', request.namespace]"
