"""What users and the hub do to definitions, StoryTriggers and other objects besides the runs: apply and delete them."""

from __future__ import annotations

from typing import Final

from bubu_contract.submission import claim_name
from core.api import keys
from core.api.objects import Object
from fuzz.engine.adapters import TEMPLATE
from fuzz.engine.answers import run_name_of
from fuzz.engine.cluster import Cluster
from fuzz.engine.model_hub import BINDING

NAMESPACE: Final = "default"
FINALIZER: Final = "example.com/backup"


def apply_engram(cluster: Cluster, name: str) -> None:
    """Create the Engram, unless it exists."""
    manifest = {"apiVersion": "bubustack.io/v1alpha1", "kind": "Engram", "spec": {"templateRef": {"name": TEMPLATE}}}
    cluster.create("user", manifest | {"metadata": {"name": name, "namespace": NAMESPACE}})


def delete_engram(cluster: Cluster, name: str) -> None:
    cluster.delete("user", ("Engram", NAMESPACE, name))


def apply_template(cluster: Cluster) -> None:
    """Create the template of all Engrams, unless it exists."""
    manifest = {"apiVersion": "catalog.bubustack.io/v1alpha1", "kind": "EngramTemplate", "spec": {"image": "work"}}
    cluster.create("user", manifest | {"metadata": {"name": TEMPLATE, "namespace": ""}})


def delete_template(cluster: Cluster) -> None:
    cluster.delete("user", ("EngramTemplate", "", TEMPLATE))


def apply_impulse(cluster: Cluster, name: str) -> None:
    """Create the Impulse of the Story, unless it exists."""
    spec = {"templateRef": {"name": "hook"}, "storyRef": {"name": "story"}}
    manifest = {"apiVersion": "bubustack.io/v1alpha1", "kind": "Impulse", "spec": spec}
    cluster.create("user", manifest | {"metadata": {"name": name, "namespace": NAMESPACE}})


def delete_impulse(cluster: Cluster, name: str) -> None:
    cluster.delete("user", ("Impulse", NAMESPACE, name))


def hold_run(cluster: Cluster, name: str, *, held: bool) -> None:
    """Add the finalizer of another program, or remove it."""
    place = ("StoryRun", NAMESPACE, name)
    others = [one for one in cluster.objects[place]["metadata"].get("finalizers") or () if one != FINALIZER]
    cluster.force_patch("user", place, "metadata", {"finalizers": [*others, *([FINALIZER] if held else [])] or None})


def delete_trigger(cluster: Cluster, run: str) -> None:
    """Delete the StoryTrigger that asks for this run."""
    for place, trigger in list(cluster.objects.items()):
        if place[0] == "StoryTrigger" and run_name_of(trigger) == run:
            cluster.delete("user", place)


def make_claim(cluster: Cluster, step_run: str, key: str) -> None:
    """Create the claim of an effect of a StepRun that was deleted, unless a claim of this name exists."""
    at = "2026-01-02T03:00:00.000000Z"
    spec = {"stepRunRef": {"name": step_run, "uid": "uid-0"}, "effectKey": key, "holderIdentity": "earlier:1"}
    spec |= {"acquireTime": at, "renewTime": at, "completionStatus": "completed", "completedAt": at}
    manifest = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "EffectClaim", "spec": spec}
    metadata = {"name": claim_name(NAMESPACE, step_run, key), "namespace": NAMESPACE}
    cluster.create("user", manifest | {"metadata": metadata})


def has_stream(cluster: Cluster) -> bool:
    """Whether there is a stream of any run: without one, no packets come."""
    return any(place[0] == BINDING for place in cluster.objects)


def start_by_packet(cluster: Cluster, run: Object, name: str) -> None:
    """Create the StoryRun of a packet, as the hub does: the run owns it, and does not control it."""
    labels = {keys.LABEL_APP_MANAGED_BY: keys.PACKET_RUN_MANAGER, keys.LABEL_PARENT_STEP: "call"}
    owner = {"apiVersion": run["apiVersion"], "kind": "StoryRun", "name": run["metadata"]["name"]}
    owner["uid"] = run["metadata"]["uid"]
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]}
    manifest = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun", "metadata": metadata}
    cluster.create("hub", manifest | {"spec": {"storyRef": {"name": "child"}}})
