"""How the Prometheus Operator finds the metrics: a ServiceMonitor of the operator, a PodMonitor of the hub.

Both set the label ``job`` that the rules select. ``honorLabels`` keeps the label ``namespace`` of a series, which is
the namespace of a run; otherwise Prometheus replaces it by that of the Pod. Source: operator contract 7.
"""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from core.api.resource import Resource
from deployment import hub, metadata
from deployment.metadata import CONTROL_PLANE
from deployment.observability.rule import HUB_JOB, JOB
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation

SERVICE_MONITOR: Final = Resource("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor")
POD_MONITOR: Final = Resource("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor")
INTERVAL: Final = "30s"
TOKEN_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path, in the Pod of Prometheus


def service_monitor(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """Every replica of the operator, by HTTPS and with the token of Prometheus.

    The Service of admission has the same labels and a port of the same name, so it is left out by its name. The
    certificate is not verified, because the operator signs it itself unless ``--metrics-cert-path`` names one.
    """
    service = installation.named(metadata.METRICS_SERVICE)
    endpoint: Object = {
        "port": "https",
        "path": "/metrics",
        "scheme": "https",
        "interval": INTERVAL,
        "bearerTokenFile": TOKEN_FILE,
        "tlsConfig": {"insecureSkipVerify": True},
        "honorLabels": True,
        "relabelings": [
            {
                "action": "keep",
                "sourceLabels": ["__meta_kubernetes_service_name"],
                "regex": service,
            },
            _job(JOB),
        ],
    }
    name = f"{installation.prefix}controller-manager-metrics-monitor"
    return {
        **metadata.document(SERVICE_MONITOR, name, namespace=installation.namespace, labels=CONTROL_PLANE),
        "spec": {"endpoints": [endpoint], "selector": {"matchLabels": metadata.POD_LABELS}},
    }


def pod_monitor(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    endpoint: Object = {"port": "metrics", "path": "/metrics", "interval": INTERVAL, "honorLabels": True}
    endpoint["relabelings"] = [_job(HUB_JOB)]
    return {
        **metadata.document(POD_MONITOR, HUB_JOB, namespace=installation.namespace, labels=hub.LABELS),
        "spec": {"podMetricsEndpoints": [endpoint], "selector": {"matchLabels": hub.POD_LABELS}},
    }


def _job(name: str) -> Object:
    return {"targetLabel": "job", "replacement": name}
