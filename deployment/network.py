"""Services and network policy of the managers. Source: operator contract 21, without the port that is not used."""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from core.api.resource import SERVICE, Resource
from deployment import metadata
from deployment.metadata import (
    CONTROL_PLANE,
    METRICS_PORT,
    METRICS_SERVICE,
    POD_LABELS,
    WEBHOOK_PORT,
    WEBHOOK_SERVICE,
)
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation

NETWORK_POLICY: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
METRICS_READERS: Final = {"metrics": "enabled"}
"""Labels of namespaces whose Pods may read metrics, as in the reference."""


def webhook_service(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """The Service that API servers call; replicas that are not ready are left out."""
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": "webhook-server"}
    return _service(installation, installation.named(WEBHOOK_SERVICE), port)


def metrics_service(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    port = {"name": "https", "port": METRICS_PORT, "protocol": "TCP", "targetPort": "metrics"}
    return _service(installation, installation.named(METRICS_SERVICE), port)


def network_policy(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """Decides who may open connections to the managers.

    The admission port is open to every address, because no selector matches the API server on every cluster: it calls
    from a node, from an address of the provider or through a tunnel's Pod (docs/install.md says what to set on which
    cluster). Metrics are open to Pods in namespaces with a label. The health port is only for the Pod's own node, which
    no policy blocks.

    Outgoing connections of the managers are not restricted, because the address of the API server differs between
    clusters.
    """
    name = f"{installation.prefix}controller-manager"
    return {
        **metadata.document(NETWORK_POLICY, name, namespace=installation.namespace, labels=CONTROL_PLANE),
        "spec": {
            "podSelector": {"matchLabels": POD_LABELS},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [{"port": WEBHOOK_PORT, "protocol": "TCP"}]},
                {
                    "from": [{"namespaceSelector": {"matchLabels": METRICS_READERS}}],
                    "ports": [{"port": METRICS_PORT, "protocol": "TCP"}],
                },
            ],
        },
    }


def _service(installation: Installation, name: str, port: Object) -> Object:
    return {
        **metadata.document(SERVICE, name, namespace=installation.namespace, labels=CONTROL_PLANE),
        "spec": {"ports": [port], "selector": POD_LABELS},
    }
