"""Where Pods may run: affinity, node selectors, tolerations. Source: the Pod API of Kubernetes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.api.schema import ATOMIC_MAP, AtomicList, DescribedElsewhere, Int32, Int64, WireModel


class Requirement(WireModel):
    """One requirement on a key: label or field, operator, values."""

    key: str = Field(description="Label or field name.")
    operator: str = Field(description="`In`, `NotIn`, `Exists`, `DoesNotExist`; for nodes `Gt`, `Lt`.")
    values: AtomicList[str] | None = Field(None, description="Values; none for `Exists`, `DoesNotExist`.")


class NodeSelectorTerm(WireModel):
    """Requirements on one node, all of which must hold."""

    schema_keywords = ATOMIC_MAP

    match_expressions: AtomicList[Requirement] | None = Field(None, description="Requirements on node labels.")
    match_fields: AtomicList[Requirement] | None = Field(None, description="Requirements on node fields.")


class PreferredSchedulingTerm(WireModel):
    """A weighted preference for nodes."""

    preference: NodeSelectorTerm = Field(description="The node term that earns the weight.")
    weight: Int32 = Field(description="Weight, 1 to 100.")


class NodeSelector(WireModel):
    """Alternatives, one of which a node must satisfy."""

    schema_keywords = ATOMIC_MAP

    node_selector_terms: AtomicList[NodeSelectorTerm] = Field(description="Alternative terms.")


class NodeAffinity(WireModel):
    """Rules on node labels."""

    preferred_during_scheduling_ignored_during_execution: AtomicList[PreferredSchedulingTerm] | None = Field(
        None, description="Preferences; the node with the highest sum of weights is chosen."
    )
    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, description="What a node must satisfy."
    )


class LabelSelector(WireModel):
    """Chooses objects by label; all requirements must hold."""

    schema_keywords = ATOMIC_MAP

    match_expressions: AtomicList[Requirement] | None = Field(None, description="Requirements on labels.")
    match_labels: dict[str, str] | None = Field(None, description="Labels with their exact values.")


class PodAffinityTerm(WireModel):
    """A set of Pods, and the topology in which to be near or apart."""

    topology_key: str = Field(description="Node label that defines `near`: `kubernetes.io/hostname`.")
    label_selector: LabelSelector | None = Field(None, description="Which Pods.")
    match_label_keys: AtomicList[str] | None = Field(None, description="Labels of this Pod that the others must share.")
    mismatch_label_keys: AtomicList[str] | None = Field(
        None, description="Labels of this Pod that the others must not share."
    )
    namespace_selector: LabelSelector | None = Field(None, description="Namespaces to look in, by label.")
    namespaces: AtomicList[str] | None = Field(None, description="By name; default: that of the Pod.")


class WeightedPodAffinityTerm(WireModel):
    """A weighted preference relative to other Pods."""

    pod_affinity_term: PodAffinityTerm = Field(description="The term that earns the weight.")
    weight: Int32 = Field(description="Weight, 1 to 100.")


class PodAffinity(WireModel):
    """Rules relative to other Pods; also the shape of anti-affinity."""

    preferred_during_scheduling_ignored_during_execution: AtomicList[WeightedPodAffinityTerm] | None = Field(
        None, description="Preferences; weights add up per node."
    )
    required_during_scheduling_ignored_during_execution: AtomicList[PodAffinityTerm] | None = Field(
        None, description="Terms that must all hold."
    )


class Affinity(WireModel):
    """Scheduling constraints of a Pod."""

    node_affinity: NodeAffinity | None = Field(None, description="Rules on node labels.")
    pod_affinity: PodAffinity | None = Field(None, description="Rules that place the Pod near others.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Rules that keep the Pod away from others.")


class Toleration(WireModel):
    """A taint the Pod puts up with."""

    effect: str | None = Field(None, description="`NoSchedule`, `PreferNoSchedule` or `NoExecute`; empty matches all.")
    key: str | None = Field(None, description="Taint key; empty matches all.")
    operator: str | None = Field(None, description="`Exists` or `Equal` (default).")
    toleration_seconds: Int64 | None = Field(
        None, description="Seconds to stay after a `NoExecute` taint appears; absent: for ever."
    )
    value: str | None = Field(None, description="Taint value for `Equal`.")


class Placement(WireModel):
    """Where the Pods of a workload may run."""

    affinity: Annotated[Affinity, DescribedElsewhere()] | None = Field(
        None,
        description="Rules that attract Pods to nodes or keep them away; replaces an inherited value. "
        "See `kubectl explain pod.spec.affinity`.",
    )
    node_selector: dict[str, str] | None = Field(
        None, description="Labels a node must carry; merged key by key with inherited ones."
    )
    tolerations: list[Toleration] | None = Field(
        None, description="Taints that the Pods tolerate; replaces an inherited list as a whole."
    )
