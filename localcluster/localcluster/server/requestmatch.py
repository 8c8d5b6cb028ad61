"""Which requests a webhook or an admission policy is about: rules on resources and operations, and label selectors.

Pure. Source: kube-apiserver's rule, namespace and object matchers of admission.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localcluster.server import selectors
from localcluster.server.types import Object, ResourceType
from localcluster.server.writeport import AdmissionRequest

GROUP: Final = "admissionregistration.k8s.io"
_EXEMPT: Final = frozenset(
    {
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    }
)
"""Webhooks and policies never see these, so that a broken one can always be repaired."""

LabelPredicate = Callable[[Mapping[str, str]], bool]
FindVersion = Callable[[str, str, str], ResourceType | None]
"""Finds a resource type by group, version and plural."""


@dataclass(frozen=True)
class RequestMatch:
    """A condition on requests. ``rules`` and ``excluded`` are RuleWithOperations, perhaps with ``resourceNames``."""

    rules: Sequence[Mapping[str, Any]]
    excluded: Sequence[Mapping[str, Any]]
    matches_equivalent: bool
    namespace_selector: LabelPredicate | None
    object_selector: LabelPredicate | None

    def target(self, request: AdmissionRequest, find: FindVersion) -> ResourceType | None:
        """The version of the objects that the rules name; None when they do not match."""
        resource = request.resource
        if resource.group == GROUP and resource.plural in _EXEMPT:
            return None
        if self.excluded and self._named(self.excluded, request, find) is not None:
            return None
        return self._named(self.rules, request, find)

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

    def _named(
        self, rules: Sequence[Mapping[str, Any]], request: AdmissionRequest, find: FindVersion
    ) -> ResourceType | None:
        resource = request.resource
        if any(_rule_matches(rule, request, resource.version) for rule in rules):
            return resource
        if not self.matches_equivalent:
            return None
        for rule in rules:
            for version in resource.served_versions:
                if version != resource.version and _rule_matches(rule, request, version):
                    return find(resource.group, version, resource.plural)
        return None


def request_match(
    fields: Mapping[str, Any], rules: Sequence[Mapping[str, Any]], excluded: Sequence[Mapping[str, Any]] = ()
) -> RequestMatch:
    """The condition that has ``rules``, and the match policy and selectors of ``fields``."""
    return RequestMatch(
        rules=rules,
        excluded=excluded,
        matches_equivalent=fields.get("matchPolicy", "Equivalent") != "Exact",
        namespace_selector=_selector(fields.get("namespaceSelector")),
        object_selector=_selector(fields.get("objectSelector")),
    )


def _selector(selector: Mapping[str, Any] | None) -> LabelPredicate | None:
    """The predicate of a selector; None if the selector matches everything."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return None
    return selectors.label_selector_predicate(selector)


def _rule_matches(rule: Mapping[str, Any], request: AdmissionRequest, version: str) -> bool:
    resource = request.resource
    scope = rule.get("scope") or "*"
    names = rule.get("resourceNames")
    return (
        _among(rule.get("operations"), request.operation)
        and _among(rule.get("apiGroups"), resource.group)
        and _among(rule.get("apiVersions"), version)
        and scope in ("*", "Namespaced" if resource.namespaced else "Cluster")
        and any(_names(pattern, resource.plural, request.subresource) for pattern in rule.get("resources") or ())
        and (not names or request.name in names)
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
