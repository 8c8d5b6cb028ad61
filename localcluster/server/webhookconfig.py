"""Admission webhooks as configured: which requests each receives, and what happens when it does not answer.

Pure. Read from Mutating- and ValidatingWebhookConfigurations, with the API's defaults filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localcluster.server import cause, selectors, webhookcall, webhookconditions
from localcluster.server.cause import Cause
from localcluster.server.types import Object, ResourceType
from localcluster.server.webhookconditions import Condition
from localcluster.server.writeport import AdmissionRequest

DEFAULT_TIMEOUT_SECONDS: Final = 10
REVIEW_VERSION: Final = "v1"
_SIDE_EFFECT_FREE: Final = ("None", "NoneOnDryRun")
_NEVER_ASKED: Final = frozenset({"mutatingwebhookconfigurations", "validatingwebhookconfigurations"})
"""Webhooks never see webhook configurations, so that a broken one can always be repaired."""

LabelPredicate = Callable[[Mapping[str, str]], bool]
FindVersion = Callable[[str, str, str], ResourceType | None]
"""Finds a resource type by group, version and plural."""


@dataclass(frozen=True)
class Hook:
    """One webhook. ``identity`` is unique among all; ``reinvoke`` means ``reinvocationPolicy: IfNeeded``."""

    identity: str
    name: str
    client_config: Mapping[str, Any]
    rules: Sequence[Mapping[str, Any]]
    fails_open: bool
    timeout_seconds: float
    matches_equivalent: bool
    dry_run_safe: bool
    reinvoke: bool
    namespace_selector: LabelPredicate | None
    object_selector: LabelPredicate | None
    conditions: tuple[Condition, ...] = ()

    def target(self, request: AdmissionRequest, find: FindVersion) -> ResourceType | None:
        """The version of the objects that the hook gets; None when the hook is not called."""
        resource = request.resource
        if resource.plural in _NEVER_ASKED and resource.group == "admissionregistration.k8s.io":
            return None
        if any(_rule_matches(rule, request, resource.version) for rule in self.rules):
            return resource
        if not self.matches_equivalent:
            return None
        for rule in self.rules:
            for version in resource.served_versions:
                if version != resource.version and _rule_matches(rule, request, version):
                    return find(resource.group, version, resource.plural)
        return None

    def selects(self, request: AdmissionRequest, namespace_labels: Mapping[str, str]) -> bool:
        """Whether the selectors match the request; cluster-scoped objects have no namespace to select by."""
        is_namespace = request.resource.plural == "namespaces" and not request.resource.group
        if self.namespace_selector is not None and (request.namespace or is_namespace):
            labels = namespace_labels
            if is_namespace and not request.subresource and request.operation in ("CREATE", "UPDATE"):
                labels = _labels(request.obj)
            if not self.namespace_selector(labels):
                return False
        if self.object_selector is None:
            return True
        shown = [obj for obj in (request.obj, request.old) if obj is not None]
        return any(self.object_selector(_labels(obj)) for obj in shown)


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
        rules=fields.get("rules") or (),
        fails_open=fields.get("failurePolicy", "Fail") == "Ignore",
        timeout_seconds=float(fields.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS),
        matches_equivalent=fields.get("matchPolicy", "Equivalent") != "Exact",
        dry_run_safe=fields.get("sideEffects") in _SIDE_EFFECT_FREE,
        reinvoke=fields.get("reinvocationPolicy") == "IfNeeded",
        namespace_selector=_selector(fields.get("namespaceSelector")),
        object_selector=_selector(fields.get("objectSelector")),
        conditions=webhookconditions.compiled(fields.get("matchConditions") or ()),
    )


def _selector(selector: Mapping[str, Any] | None) -> LabelPredicate | None:
    """The predicate of a selector; None if the selector matches everything."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return None
    return selectors.label_selector_predicate(selector)


def _rule_matches(rule: Mapping[str, Any], request: AdmissionRequest, version: str) -> bool:
    resource = request.resource
    scope = rule.get("scope") or "*"
    return (
        _among(rule.get("operations"), request.operation)
        and _among(rule.get("apiGroups"), resource.group)
        and _among(rule.get("apiVersions"), version)
        and scope in ("*", "Namespaced" if resource.namespaced else "Cluster")
        and any(_names(pattern, resource.plural, request.subresource) for pattern in rule.get("resources") or ())
    )


def _among(patterns: Sequence[str] | None, value: str) -> bool:
    return bool(patterns) and ("*" in (patterns or ()) or value in (patterns or ()))


def _names(pattern: str, plural: str, subresource: str) -> bool:
    wanted, slash, wanted_subresource = pattern.partition("/")
    if wanted not in ("*", plural):
        return False
    return wanted_subresource in ("*", subresource) if slash else not subresource


def _labels(obj: Object | None) -> Mapping[str, str]:
    labels: Mapping[str, str] = ((obj or {}).get("metadata") or {}).get("labels") or {}
    return labels
