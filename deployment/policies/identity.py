"""The identity of an object never changes: policy ``identity``. Source: admission contract 8.2 to 13."""

from __future__ import annotations

from typing import Final

from core.api.resource import EFFECT_CLAIM, STEP_RUN, STORY_RUN, STORY_TRIGGER, TRANSPORT_BINDING, Resource
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import IDENTITY_ANNOTATIONS, NOT_DELETED, annotation, not_by_operator
from deployment.policies.policy import CREATE, SPECS, UPDATE, Check, Policy
from webhooks.validate import effectclaim, steprun, storyrun, storytrigger, transportbinding

_TOKEN, _HASH = IDENTITY_ANNOTATIONS
_SPECS: Final = ("variables.now", "variables.before")
_SAME_BUT_CANCEL: Final = (
    "variables.now.all(k, k == 'cancelRequested' || (k in variables.before && variables.before[k] == variables.now[k]))"
    " && variables.before.all(k, k == 'cancelRequested' || k in variables.now)"
)
_STAYS_CANCELED: Final = (
    "!(has(variables.before.cancelRequested) && variables.before.cancelRequested)"
    " || (has(variables.now.cancelRequested) && variables.now.cancelRequested)"
)
_STAYS_COMPLETED: Final = (
    "!(has(variables.before.completionStatus) && variables.before.completionStatus == 'completed')"
    " || (has(variables.now.completionStatus) && variables.now.completionStatus == 'completed')"
)


def policy(installation: Installation) -> Policy:
    return Policy(
        "identity",
        "The identity of runs, steps, triggers, claims and bindings cannot change after they are created.",
        (*_runs(), *_steps(), *_triggers(), *_claims(), *_bindings()),
        (NOT_DELETED, not_by_operator(installation)),
        SPECS,
    )


def _runs() -> tuple[Check, ...]:
    token, digest = (
        f"{annotation('object', key)}.trim() == {annotation('oldObject', key)}.trim()" for key in (_TOKEN, _HASH)
    )
    is_asked_for = f"{annotation('object', _TOKEN)}.trim() == ''"
    return (
        _frozen(STORY_RUN, _SAME_BUT_CANCEL, "spec: may not be changed (start another run)", storyrun.SPEC_FROZEN.id),
        _frozen(
            STORY_RUN,
            _STAYS_CANCELED,
            "spec.cancelRequested: may only be set to true (start another run)",
            storyrun.SPEC_FROZEN.id,
        ),
        _frozen(
            STORY_RUN,
            token,
            f'metadata.annotations["{_TOKEN}"]: may not be added, changed or removed (start another run)',
            storyrun.TOKEN_FROZEN.id,
        ),
        _frozen(
            STORY_RUN,
            f"{is_asked_for} || {digest}",
            f'metadata.annotations["{_HASH}"]: may not be changed or removed (start another run)',
            storyrun.HASH_FROZEN.id,
            storyrun.TOKEN_FROZEN.id,
        ),
    )


def _steps() -> tuple[Check, ...]:
    return tuple(
        _frozen(
            STEP_RUN,
            _same(field),
            f"spec.{field}: may not be changed (create another StepRun)",
            steprun.IDENTITY_FROZEN.id,
        )
        for field in ("storyRunRef", "stepId", "engramRef", "script")
    )


def _triggers() -> tuple[Check, ...]:
    message = "spec: may not be changed (submit another request)"
    return (_frozen(STORY_TRIGGER, "variables.now == variables.before", message, storytrigger.SPEC_FROZEN.id),)


def _claims() -> tuple[Check, ...]:
    frozen = tuple(
        _frozen(
            EFFECT_CLAIM,
            _same_text(path),
            f"spec.{path}: may not be changed (create another claim)",
            effectclaim.IDENTITY_FROZEN.id,
        )
        for path in ("stepRunRef.name", "stepRunRef.namespace", "stepRunRef.uid", "effectKey", "idempotencyKey")
    )
    own = Check(
        EFFECT_CLAIM,
        _own_namespace("stepRunRef"),
        "spec.stepRunRef.namespace: must be the claim's own (create the claim in the StepRun's namespace)",
        (effectclaim.NAMESPACE.id,),
        (CREATE,),
    )
    completed = _frozen(
        EFFECT_CLAIM,
        _STAYS_COMPLETED,
        "spec.completionStatus: a completed effect stays completed (leave it unchanged)",
        effectclaim.COMPLETED_FROZEN.id,
    )
    return (own, *frozen, completed)


def _bindings() -> tuple[Check, ...]:
    frozen = tuple(
        _frozen(
            TRANSPORT_BINDING,
            f"variables.now == variables.before || ({_same_text(path)})",
            f"spec.{path}: may not be changed (create another binding)",
            transportbinding.FROZEN.id,
        )
        for path in ("transportRef", "driver")
    )
    own = Check(
        TRANSPORT_BINDING,
        f"(request.operation == 'UPDATE' && variables.now == variables.before) || ({_own_namespace('storyRunRef')})",
        "spec.storyRunRef.namespace: must be the binding's own (create it in the run's namespace)",
        (transportbinding.RUN_NAMESPACE.id,),
    )
    return (own, *frozen)


def _frozen(target: Resource, expression: str, message: str, *rules: str) -> Check:
    return Check(target, expression, message, rules, (UPDATE,))


def _same(path: str) -> str:
    """Whether a field has its old value; ``null`` counts as absent."""
    now, before = (f"(has({of}.{path}) ? {of}.{path} : null)" for of in _SPECS)
    return f"{now} == {before}"


def _same_text(path: str) -> str:
    """The same for a string; surrounding blanks are ignored, and an absent string equals an empty one."""
    now, before = (f"(has({of}.{path}) ? {of}.{path}.trim() : '')" for of in _SPECS)
    return f"{now} == {before}"


def _own_namespace(path: str) -> str:
    """Whether a reference stays within the namespace."""
    reference = f"variables.now.{path}"
    place = f"{reference}.namespace"
    return f"!has({reference}) || !has({place}) || {place} in ['', request.namespace]"
