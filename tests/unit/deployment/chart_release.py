"""The objects of a release of the Helm chart, computed without Helm; and those of the Kustomize set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from core.api.crd import ConversionService, custom_resource_definition
from core.api.kinds import KINDS
from core.api.objects import Object
from deployment import installer
from deployment.chart import values
from deployment.chart.documents import template_files
from deployment.chart.nodes import resolved
from deployment.chart.release import CHART, CLUSTER_DOMAIN, RELEASE, full
from deployment.permissions.names import Installation
from webhooks.registration import CONVERT_PATH

Key = tuple[str, str, str]


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with changes, as Helm merges them: mappings are merged, anything else is replaced."""
    result = dict(base)
    for key, change in changes.items():
        there = result.get(key)
        result[key] = merged(there, change) if isinstance(there, dict) and isinstance(change, dict) else change
    return result


def release_objects(
    changes: Mapping[str, Any], *, name: str = "bobrapet", namespace: str = "bobrapet-system"
) -> list[Object]:
    """The objects of a release with changed values, without the labels that name chart and release."""
    given = merged(values.default_values(), changes)
    fullname = full(given, name)
    account = given["serviceAccount"]["name"] or (fullname if given["serviceAccount"]["create"] else "default")
    found = [
        resolved(obj, given) for _, objects in template_files() for condition, obj in objects if condition.holds(given)
    ]
    text = orjson.dumps(found).decode()
    for word, replacement in (
        (RELEASE.prefix, f"{fullname}-"),
        (RELEASE.namespace, namespace),
        (RELEASE.service_account, account),
        (CLUSTER_DOMAIN, given["kubernetesClusterDomain"]),
    ):
        text = text.replace(word, replacement)
    if fullname == CHART:
        text = text.replace(f',"--name-prefix={CHART}-"', "")
    objects: list[Object] = orjson.loads(text)
    return [*_definitions(given, fullname, namespace), *objects]


def _definitions(given: Mapping[str, Any], fullname: str, namespace: str) -> Iterator[Object]:
    """What ``definitions.tpl`` makes of the definitions."""
    if not given["crds"]["install"]:
        return
    admission = given["webhooks"]["enabled"]
    port = given["webhookService"]["ports"][0]["port"]
    service = ConversionService(namespace, f"{fullname}-webhook-service", CONVERT_PATH, port)
    for kind in KINDS:
        several = len(kind.versions) > 1
        definition = custom_resource_definition(kind, service if several else None)
        annotations = {"helm.sh/resource-policy": "keep"} if given["crds"]["keep"] else {}
        if several:
            for version in definition["spec"]["versions"]:
                version["served"] = version["storage"] or admission
            if url := given["webhooks"]["url"]:
                webhook = definition["spec"]["conversion"]["webhook"]
                webhook["clientConfig"] = {"url": url.removesuffix("/") + CONVERT_PATH}
            if admission and given["certificates"]["certManager"]["enabled"]:
                annotations["cert-manager.io/inject-ca-from"] = f"{namespace}/{fullname}-serving-cert"
        if annotations:
            definition["metadata"]["annotations"] = annotations
        yield definition


def kustomize_objects(installation: Installation) -> list[Object]:
    """The objects of ``manifests/default`` for another namespace, prefix or account. The release has the namespace."""
    return [obj for obj in installer.objects(installation) if obj["kind"] != "Namespace"]


def by_key(objects: Iterable[Object]) -> dict[Key, Object]:
    """Objects by kind, namespace and name; no two have the same."""
    found: dict[Key, Object] = {}
    for obj in objects:
        metadata = obj["metadata"]
        key = (obj["kind"], metadata.get("namespace", ""), metadata["name"])
        assert key not in found, key
        if not metadata.get("labels", {"": ""}):
            del metadata["labels"]
        found[key] = obj
    return found
