"""A kind for an API server: one frozen record each, from which URLs, RBAC rules and CRDs are rendered.

Not here: the fields of a kind (one module per kind), and how requests are sent (core.kube).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Scope(StrEnum):
    """Whether objects of a kind belong to a namespace."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server serves it.

    ``group`` is empty for the core group; ``version`` is the version this process reads and writes (the stored one).
    """

    group: str
    version: str
    plural: str
    kind: str
    scope: Scope = Scope.NAMESPACED
    subresources: tuple[str, ...] = ()
    subset: str = ""
    """Which of the objects, where one process follows several subsets of a kind separately; the URLs are the same."""

    @property
    def title(self) -> str:
        """``pods``, or ``pods (impulses)`` for a subset: for people and metrics."""
        return f"{self.plural} ({self.subset})" if self.subset else self.plural

    @property
    def api_version(self) -> str:
        """``group/version``, the value of an object's field ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def namespaced(self) -> bool:
        return self.scope is Scope.NAMESPACED

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection or of one object, e.g. ``/apis/bubustack.io/v1alpha1/namespaces/a/stories/b``.

        Without ``namespace``, a namespaced kind has the path of the collection over all namespaces.

        Raises:
            ValueError: ``namespace`` is given for a cluster-scoped kind, or an object of a namespaced kind has no
                namespace.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.kind} is cluster-scoped; drop namespace {namespace!r}")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.kind} {name!r} needs a namespace")
        parts = ["/api" if not self.group else f"/apis/{self.group}", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


STORY = Resource("bubustack.io", "v1alpha1", "stories", "Story", subresources=("status",))
ENGRAM = Resource("bubustack.io", "v1alpha1", "engrams", "Engram", subresources=("status",))
IMPULSE = Resource("bubustack.io", "v1alpha1", "impulses", "Impulse", subresources=("status",))
ENGRAM_TEMPLATE = Resource(
    "catalog.bubustack.io", "v1alpha1", "engramtemplates", "EngramTemplate", Scope.CLUSTER, ("status",)
)
IMPULSE_TEMPLATE = Resource(
    "catalog.bubustack.io", "v1alpha1", "impulsetemplates", "ImpulseTemplate", Scope.CLUSTER, ("status",)
)
STORY_RUN = Resource("runs.bubustack.io", "v1alpha1", "storyruns", "StoryRun", subresources=("status",))
STEP_RUN = Resource("runs.bubustack.io", "v1alpha1", "stepruns", "StepRun", subresources=("status",))
STORY_TRIGGER = Resource("runs.bubustack.io", "v1alpha1", "storytriggers", "StoryTrigger", subresources=("status",))
EFFECT_CLAIM = Resource("runs.bubustack.io", "v1alpha1", "effectclaims", "EffectClaim", subresources=("status",))
TRANSPORT = Resource("transport.bubustack.io", "v1alpha1", "transports", "Transport", Scope.CLUSTER, ("status",))
TRANSPORT_BINDING = Resource(
    "transport.bubustack.io", "v1alpha1", "transportbindings", "TransportBinding", subresources=("status",)
)
REFERENCE_GRANT = Resource(
    "policy.bubustack.io", "v1alpha1", "referencegrants", "ReferenceGrant", subresources=("status",)
)

OUR_RESOURCES: tuple[Resource, ...] = (
    STORY,
    ENGRAM,
    IMPULSE,
    ENGRAM_TEMPLATE,
    IMPULSE_TEMPLATE,
    STORY_RUN,
    STEP_RUN,
    STORY_TRIGGER,
    EFFECT_CLAIM,
    TRANSPORT,
    TRANSPORT_BINDING,
    REFERENCE_GRANT,
)
"""The twelve kinds of the contract, definition kinds first."""

NAMESPACE = Resource("", "v1", "namespaces", "Namespace", Scope.CLUSTER, ("status",))
POD = Resource("", "v1", "pods", "Pod", subresources=("status", "log"))
IMPULSE_POD = replace(POD, subset="impulses")
"""The Pods of Impulses."""
WORKER_POD = replace(POD, subset="workers")
"""The Pods of warm workers."""
SECRET = Resource("", "v1", "secrets", "Secret")
CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE = Resource("", "v1", "services", "Service", subresources=("status",))
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount", subresources=("token",))
CORE_EVENT = Resource("", "v1", "events", "Event")
EVENT = Resource("events.k8s.io", "v1", "events", "Event")
JOB = Resource("batch", "v1", "jobs", "Job", subresources=("status",))
CONTROLLER_REVISION = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment", subresources=("status", "scale"))
STATEFUL_SET = Resource("apps", "v1", "statefulsets", "StatefulSet", subresources=("status", "scale"))
STREAM_DEPLOYMENT = replace(DEPLOYMENT, subset="streams")
"""The Deployments of realtime steps."""
STREAM_STATEFUL_SET = replace(STATEFUL_SET, subset="streams")
"""The StatefulSets of realtime steps."""
WORKER_DEPLOYMENT = replace(DEPLOYMENT, subset="workers")
"""The Deployments of pools of warm workers."""
ROLE = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLE = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", Scope.CLUSTER)
CLUSTER_ROLE_BINDING = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", Scope.CLUSTER
)
TOKEN_REVIEW = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", Scope.CLUSTER)
SELF_SUBJECT_REVIEW = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", Scope.CLUSTER)
SUBJECT_ACCESS_REVIEW = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", Scope.CLUSTER
)
LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease")
WORKER_LEASE = replace(LEASE, subset="workers")
"""The heartbeats of warm workers."""
CUSTOM_RESOURCE_DEFINITION = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", Scope.CLUSTER, ("status",)
)
