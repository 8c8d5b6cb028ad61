"""What ``helm uninstall`` does first where the definitions stay: a Job stops serving the versions of Stories that the
operator's webhook converts to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import Object
from core.api.permission import Permission
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, JOB, STORY
from deployment import metadata
from deployment.chart.nodes import ReleaseCondition, Scalar, given, part, value
from deployment.chart.release import RELEASE, WEBHOOKS, labelled
from deployment.permissions.documents import service_account, table_objects
from deployment.permissions.role_table import Reach, RoleTable

ACCOUNT: Final = "removal"
_HOOK: Final = given("crds.install") & given("crds.keep") & given("crds.removalJob") & WEBHOOKS
_TABLE: Final = RoleTable(
    "removal-role",
    "removal-rolebinding",
    Reach.CLUSTER,
    "Permissions of the Job that helm uninstall runs first.",
    (
        Permission(
            CUSTOM_RESOURCE_DEFINITION,
            ("get", "patch"),
            "Stories are only served as they are stored.",
            names=(f"{STORY.plural}.{STORY.group}",),
        ),
    ),
    ACCOUNT,
)
_SECONDS: Final = 120


def removal_objects() -> Iterator[tuple[ReleaseCondition, Object]]:
    """The Job, and the account, role and binding that exist as long as it does."""
    for obj in (service_account(RELEASE, ACCOUNT), *table_objects(RELEASE, _TABLE)):
        yield _HOOK, _hook(labelled(obj), weight=0)
    yield _HOOK, _hook(labelled(_job()), weight=1)


def _hook(obj: Object, *, weight: int) -> Object:
    annotations = {
        "helm.sh/hook": "pre-delete",
        "helm.sh/hook-weight": str(weight),
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _job() -> Object:
    image = metadata.image()
    container = {
        "name": "conversion-off",
        "image": Scalar('include "bobrapet.image" $', lambda _: image),
        "imagePullPolicy": value("controllerManager.manager.imagePullPolicy"),
        "command": ["bobrapet", "conversion", "off"],
        "resources": {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": part("controllerManager.manager.containerSecurityContext"),
        "volumeMounts": [{"name": "tmp", "mountPath": metadata.TEMPORARY_FILES}],
    }
    pod = {
        "serviceAccountName": RELEASE.account(ACCOUNT),
        "restartPolicy": "Never",
        "imagePullSecrets": part("imagePullSecrets"),
        "securityContext": part("controllerManager.podSecurityContext"),
        "nodeSelector": part("controllerManager.nodeSelector"),
        "tolerations": part("controllerManager.tolerations"),
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }
    document = metadata.document(JOB, f"{RELEASE.prefix}removal", namespace=RELEASE.namespace)
    spec = {"backoffLimit": 2, "activeDeadlineSeconds": _SECONDS, "template": {"spec": pod}}
    return {**document, "spec": spec}
