"""What users do to Engrams and to their template: apply and delete them."""

from __future__ import annotations

from typing import Final

from fuzz.engine.adapters import TEMPLATE
from fuzz.engine.cluster import Cluster

NAMESPACE: Final = "default"


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
