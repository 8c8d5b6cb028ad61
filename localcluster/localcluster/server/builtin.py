"""The kinds that every cluster has, as far as kubectl, the operator and its manifests need them.

Their schemas come from builtin_schemas.py; their defaults and validation are code (builtin_defaults.py,
validation_builtin.py), as in the real server. Verbs, short names, categories and scopes are those of Kubernetes 1.37.
"""

from __future__ import annotations

from localcluster.server import builtin_schemas, events
from localcluster.server.types import STANDARD_VERBS, ResourceType

_STATUS = frozenset({"status"})
_SCALABLE = frozenset({"status", "scale"})
_NONE: frozenset[str] = frozenset()
_CREATE_ONLY = ("create",)

_SELECTABLE_PODS = (
    ".spec.nodeName",
    ".spec.restartPolicy",
    ".spec.schedulerName",
    ".spec.serviceAccountName",
    ".spec.hostNetwork",
    ".status.phase",
    ".status.podIP",
    ".status.nominatedNodeName",
)
_SELECTABLE_CORE_EVENTS = (
    ".involvedObject.kind",
    ".involvedObject.namespace",
    ".involvedObject.name",
    ".involvedObject.uid",
    ".involvedObject.apiVersion",
    ".involvedObject.resourceVersion",
    ".involvedObject.fieldPath",
    ".reason",
    ".reportingComponent",
    ".source",
    ".type",
)


def _kind(
    group: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool = True,
    short: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    verbs: tuple[str, ...] = STANDARD_VERBS,
    subresources: frozenset[str] = _NONE,
    selectable: tuple[str, ...] = (),
    counts_generation: bool = False,
) -> ResourceType:
    return ResourceType(
        group=group,
        version="v1",
        plural=plural,
        singular=kind.lower(),
        kind=kind,
        list_kind=kind + "List",
        namespaced=namespaced,
        short_names=short,
        categories=categories,
        verbs=verbs,
        subresources=subresources,
        schema=builtin_schemas.structural_schema(group, "v1", kind),
        preserve_unknown=False,
        printer_columns=(),
        selectable_fields=selectable,
        storage_version="v1",
        served_versions=("v1",),
        conversion_webhook=None,
        custom=False,
        counts_generation=counts_generation,
    )


_CORE = (
    _kind("", "configmaps", "ConfigMap", short=("cm",)),
    _kind("", "events", "Event", short=("ev",), selectable=_SELECTABLE_CORE_EVENTS),
    _kind("", "limitranges", "LimitRange", short=("limits",)),
    _kind(
        "",
        "namespaces",
        "Namespace",
        namespaced=False,
        short=("ns",),
        verbs=tuple(verb for verb in STANDARD_VERBS if verb != "deletecollection"),
        subresources=frozenset({"status", "finalize"}),
        selectable=(".status.phase",),
    ),
    _kind(
        "",
        "nodes",
        "Node",
        namespaced=False,
        short=("no",),
        subresources=_STATUS,
        selectable=(".spec.unschedulable",),
    ),
    _kind("", "persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",), subresources=_STATUS),
    _kind(
        "",
        "pods",
        "Pod",
        short=("po",),
        categories=("all",),
        subresources=frozenset({"status", "log", "binding"}),
        selectable=_SELECTABLE_PODS,
        counts_generation=True,
    ),
    _kind("", "resourcequotas", "ResourceQuota", short=("quota",), subresources=_STATUS),
    _kind("", "secrets", "Secret", selectable=(".type",)),
    _kind("", "serviceaccounts", "ServiceAccount", short=("sa",), subresources=frozenset({"token"})),
    _kind("", "services", "Service", short=("svc",), categories=("all",), subresources=_STATUS),
)

_WORKLOADS = (
    _kind("apps", "controllerrevisions", "ControllerRevision"),
    _kind(
        "apps",
        "deployments",
        "Deployment",
        short=("deploy",),
        categories=("all",),
        subresources=_SCALABLE,
        counts_generation=True,
    ),
    _kind(
        "apps",
        "replicasets",
        "ReplicaSet",
        short=("rs",),
        categories=("all",),
        subresources=_SCALABLE,
        selectable=(".status.replicas",),
        counts_generation=True,
    ),
    _kind(
        "apps",
        "statefulsets",
        "StatefulSet",
        short=("sts",),
        categories=("all",),
        subresources=_SCALABLE,
        counts_generation=True,
    ),
    _kind(
        "batch",
        "jobs",
        "Job",
        categories=("all",),
        subresources=_STATUS,
        selectable=(".status.successful",),
        counts_generation=True,
    ),
)

_RBAC_GROUP = "rbac.authorization.k8s.io"
_RBAC = (
    _kind(_RBAC_GROUP, "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _kind(_RBAC_GROUP, "clusterroles", "ClusterRole", namespaced=False),
    _kind(_RBAC_GROUP, "rolebindings", "RoleBinding"),
    _kind(_RBAC_GROUP, "roles", "Role"),
)

_MACHINERY = (
    _kind(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        namespaced=False,
        categories=("api-extensions",),
        counts_generation=True,
    ),
    _kind(
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        namespaced=False,
        categories=("api-extensions",),
        counts_generation=True,
    ),
    _kind(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        namespaced=False,
        categories=("api-extensions",),
        subresources=_STATUS,
        counts_generation=True,
    ),
    _kind(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        namespaced=False,
        categories=("api-extensions",),
        counts_generation=True,
    ),
    _kind(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
        short=("crd", "crds"),
        categories=("api-extensions",),
        subresources=_STATUS,
        counts_generation=True,
    ),
    _kind("coordination.k8s.io", "leases", "Lease"),
    _kind("discovery.k8s.io", "endpointslices", "EndpointSlice"),
    _kind("events.k8s.io", "events", "Event", short=("ev",), selectable=events.SELECTABLE),
    _kind(
        "networking.k8s.io",
        "networkpolicies",
        "NetworkPolicy",
        short=("netpol",),
        counts_generation=True,
    ),
    _kind(
        "policy",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        short=("pdb",),
        subresources=_STATUS,
        counts_generation=True,
    ),
)

_REVIEWS = (
    _kind("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", namespaced=False, verbs=_CREATE_ONLY),
    _kind("authentication.k8s.io", "tokenreviews", "TokenReview", namespaced=False, verbs=_CREATE_ONLY),
    _kind(
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        namespaced=False,
        verbs=_CREATE_ONLY,
    ),
    _kind(
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        namespaced=False,
        verbs=_CREATE_ONLY,
    ),
    _kind("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", namespaced=False, verbs=_CREATE_ONLY),
)

BUILTIN: tuple[ResourceType, ...] = _CORE + _WORKLOADS + _RBAC + _MACHINERY + _REVIEWS
"""Every built-in kind once, by group. The review kinds can only be created and are never stored. The Events of core and
of events.k8s.io are two forms of one stored object."""
