"""Defaults of objects of built-in kinds.

``default_builtin`` runs each time a request body is read, ``complete_created`` once, when a new object has its uid.
Both change the object in place and are idempotent. Not here: status and system metadata (strategy.py, objectmeta.py).
Source: the defaults of Kubernetes 1.37, compared with a real server.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from localcluster.server.builtin_defaults_pod import default_pod, default_pod_spec
from localcluster.server.types import Object, ResourceType

_RBAC_GROUP = "rbac.authorization.k8s.io"
_MAX_INT32 = 2**31 - 1


def default_builtin(obj: Object, rtype: ResourceType) -> None:
    """Fill in the defaults of a built-in kind, in place; a kind without defaults stays unchanged."""
    default = _DEFAULTERS.get((rtype.group, rtype.plural))
    if default is not None:
        default(obj)


def complete_created(obj: Object, rtype: ResourceType) -> None:
    """Fill in what follows from a new object's identity (``metadata.uid`` and ``metadata.name`` are set).

    A Job gets a selector for its own Pods, and its Pods get the labels that it selects.
    """
    if (rtype.group, rtype.plural) == ("batch", "jobs"):
        _complete_job(obj)


def _complete_job(job: Object) -> None:
    metadata, spec = job["metadata"], job["spec"]
    if spec.get("manualSelector") is not True:
        uid, name = metadata["uid"], metadata["name"]
        own = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": uid,
            "job-name": name,
        }
        template = spec["template"].setdefault("metadata", {})
        template["labels"] = {**own, **(template.get("labels") or {})}
        selector = spec.setdefault("selector", {})
        selector.setdefault("matchLabels", {})["batch.kubernetes.io/controller-uid"] = uid
    if not metadata.get("labels"):
        labels = (spec["template"].get("metadata") or {}).get("labels")
        if labels:
            metadata["labels"] = dict(labels)


def _template(workload: Object) -> Object:
    spec: Object = workload.setdefault("spec", {})
    default_pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))
    return spec


def _job(job: Object) -> None:
    spec = job.setdefault("spec", {})
    default_pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = _MAX_INT32 if spec.get("backoffLimitPerIndex") is not None else 6
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    policy = spec.get("podFailurePolicy")
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if policy is None else "Failed")
    for rule in (policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")


def _deployment(deployment: Object) -> None:
    spec = _template(deployment)
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def _replica_set(replica_set: Object) -> None:
    spec = _template(replica_set)
    spec.setdefault("replicas", 1)


def _stateful_set(stateful_set: Object) -> None:
    spec = _template(stateful_set)
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    for claim in spec.get("volumeClaimTemplates") or ():
        _claim(claim)


def _service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec.get("clusterIP"):
        spec.setdefault("clusterIPs", [spec["clusterIP"]])


def _secret(secret: Object) -> None:
    secret.setdefault("type", "Opaque")
    plain = secret.pop("stringData", None)
    if plain:
        data = secret.get("data") or {}
        secret["data"] = {**data, **{key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}}


def _namespace(namespace: Object) -> None:
    name = namespace["metadata"].get("name")
    if name:
        namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def _claim(claim: Object) -> None:
    claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _endpoint_slice(endpoint_slice: Object) -> None:
    for port in endpoint_slice.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _binding(binding: Object) -> None:
    if binding.get("roleRef"):
        binding["roleRef"].setdefault("apiGroup", _RBAC_GROUP)
    for subject in binding.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC_GROUP)


def _webhooks(configuration: Object) -> None:
    for webhook in configuration.get("webhooks") or ():
        _webhook_client(webhook.get("clientConfig"))
        for rule in webhook.get("rules") or ():
            rule.setdefault("scope", "*")
        webhook.setdefault("failurePolicy", "Fail")
        webhook.setdefault("matchPolicy", "Equivalent")
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        webhook.setdefault("timeoutSeconds", 10)
        if configuration.get("kind") == "MutatingWebhookConfiguration":
            webhook.setdefault("reinvocationPolicy", "Never")


def _webhook_client(client: Object | None) -> None:
    if client and client.get("service"):
        client["service"].setdefault("port", 443)


def _controller_revision(revision: Object) -> None:
    revision.setdefault("revision", 0)


def _network_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _definition(crd: Object) -> None:
    spec = crd.setdefault("spec", {})
    names = spec.get("names") or {}
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    conversion = spec.setdefault("conversion", {"strategy": "None"})
    _webhook_client((conversion.get("webhook") or {}).get("clientConfig"))


def _policy(policy: Object) -> None:
    spec = policy.get("spec") or {}
    spec.setdefault("failurePolicy", "Fail")
    _match_resources(spec.get("matchConstraints"))


def _policy_binding(binding: Object) -> None:
    _match_resources((binding.get("spec") or {}).get("matchResources"))


def _match_resources(resources: Object | None) -> None:
    if resources is None:
        return
    resources.setdefault("matchPolicy", "Equivalent")
    resources.setdefault("namespaceSelector", {})
    resources.setdefault("objectSelector", {})
    for rule in (*(resources.get("resourceRules") or ()), *(resources.get("excludeResourceRules") or ())):
        rule.setdefault("scope", "*")


_DEFAULTERS: dict[tuple[str, str], Callable[[Object], None]] = {
    ("", "namespaces"): _namespace,
    ("", "persistentvolumeclaims"): _claim,
    ("", "pods"): default_pod,
    ("", "secrets"): _secret,
    ("", "services"): _service,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): _webhooks,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): _webhooks,
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): _policy,
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): _policy_binding,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition,
    ("apps", "controllerrevisions"): _controller_revision,
    ("apps", "deployments"): _deployment,
    ("apps", "replicasets"): _replica_set,
    ("apps", "statefulsets"): _stateful_set,
    ("batch", "jobs"): _job,
    ("discovery.k8s.io", "endpointslices"): _endpoint_slice,
    ("networking.k8s.io", "networkpolicies"): _network_policy,
    (_RBAC_GROUP, "clusterrolebindings"): _binding,
    (_RBAC_GROUP, "rolebindings"): _binding,
}
