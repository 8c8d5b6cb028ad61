"""Admission webhooks as configured: which requests each receives, and what happens when it does not answer.

Pure. Read from Mutating- and ValidatingWebhookConfigurations, with the API's defaults filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from localcluster.server import cause, requestmatch, selectors, webhookcall, webhookconditions
from localcluster.server.cause import Cause
from localcluster.server.requestmatch import FindVersion, RequestMatch
from localcluster.server.types import Object, ResourceType
from localcluster.server.webhookconditions import Condition
from localcluster.server.writeport import AdmissionRequest

DEFAULT_TIMEOUT_SECONDS: Final = 10
REVIEW_VERSION: Final = "v1"
_SIDE_EFFECT_FREE: Final = ("None", "NoneOnDryRun")


@dataclass(frozen=True)
class Hook:
    """One webhook. ``identity`` is unique among all; ``reinvoke`` means ``reinvocationPolicy: IfNeeded``."""

    identity: str
    name: str
    client_config: Mapping[str, Any]
    match: RequestMatch
    fails_open: bool
    timeout_seconds: float
    dry_run_safe: bool
    reinvoke: bool
    conditions: tuple[Condition, ...] = ()

    def target(self, request: AdmissionRequest, find: FindVersion) -> ResourceType | None:
        """The version of the objects that the hook gets; None when the hook is not called."""
        return self.match.target(request, find)

    def selects(self, request: AdmissionRequest, namespace_labels: Mapping[str, str]) -> bool:
        """Whether the selectors match the request; cluster-scoped objects have no namespace to select by."""
        return self.match.selects(request, namespace_labels)


def hooks_of(configuration: Object) -> list[Hook]:
    """The webhooks of one configuration object, in their order."""
    name = configuration["metadata"]["name"]
    return [_hook(f"{name}/{index}", fields) for index, fields in enumerate(configuration.get("webhooks") or ())]


def why_unsupported(configuration: Object) -> list[Cause]:
    """Settings that a local cluster does not support; validation_webhooks.py reports other faults."""
    causes: list[Cause] = []
    for index, fields in enumerate(configuration.get("webhooks") or ()):
        field = f"webhooks[{index}]"
        reviews = fields.get("admissionReviewVersions") or ()
        if reviews and REVIEW_VERSION not in reviews:
            why = f"a local cluster sends AdmissionReviews of version {REVIEW_VERSION} only"
            causes.append(cause.invalid(f"{field}.admissionReviewVersions", list(reviews), why))
        bundle = (fields.get("clientConfig") or {}).get("caBundle", "")
        if why_bad := webhookcall.why_unusable_bundle(bundle):
            causes.append(cause.invalid(f"{field}.clientConfig.caBundle", "…", why_bad))
        for name in ("namespaceSelector", "objectSelector"):
            try:
                selectors.label_selector_predicate(fields.get(name) or {})
            except (ValueError, KeyError) as error:
                causes.append(cause.invalid(f"{field}.{name}", fields.get(name), str(error)))
    return causes


def _hook(identity: str, fields: Object) -> Hook:
    return Hook(
        identity=identity,
        name=fields.get("name", ""),
        client_config=fields.get("clientConfig") or {},
        match=requestmatch.request_match(fields, fields.get("rules") or ()),
        fails_open=fields.get("failurePolicy", "Fail") == "Ignore",
        timeout_seconds=float(fields.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS),
        dry_run_safe=fields.get("sideEffects") in _SIDE_EFFECT_FREE,
        reinvoke=fields.get("reinvocationPolicy") == "IfNeeded",
        conditions=webhookconditions.prepared(fields.get("matchConditions") or ()),
    )
