"""The overlay for clusters with cert-manager: it issues the certificate, its injector writes every ``caBundle``.

All objects are in the operator's namespace. In the reference, issuers are global and the namespace of cert-manager is
fixed. With this overlay the operator writes neither that Secret nor a webhook configuration, and may not change them.
Source: operator contract 21; cert-manager's own reference, ``cert-manager.io/v1``.
"""

from __future__ import annotations

from typing import Final

from certs.inject import targets_of
from certs.rotation import DEFAULT_SECRET
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, Resource
from deployment import metadata, workload
from deployment.metadata import WEBHOOK_SERVICE
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation, table_objects
from deployment.permissions.table import CA_BUNDLES, CERTIFICATES

_GROUP: Final = "cert-manager.io"
_ISSUER: Final = Resource(_GROUP, "v1", "issuers", "Issuer")
_CERTIFICATE: Final = Resource(_GROUP, "v1", "certificates", "Certificate")

SERVING: Final = "serving-cert"
CERTIFICATE_FOLDER: Final = f"{metadata.TEMPORARY_FILES}/k8s-webhook-server/serving-certs"
"""The same folder as in the reference."""
_AUTHORITY: Final = "ca"
_SELF_SIGNED: Final = "selfsigned"
_AUTHORITY_LIFETIME: Final = "43800h"
_KEY: Final = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
_USAGES: Final = ["digital signature", "server auth"]
"""Without them cert-manager asks for the encipherment of keys, which keys of this type cannot do, and for no server."""


def issuers_and_certificates(
    installation: Installation = DEFAULT_INSTALLATION, *, domain: str = "cluster.local"
) -> list[Object]:
    """A self-signed root, the authority that it issues, and the certificate of the Service."""
    prefix = installation.prefix
    host = f"{installation.named(WEBHOOK_SERVICE)}.{installation.namespace}.svc"
    authority = {
        "isCA": True,
        "commonName": f"{prefix}{_AUTHORITY}",
        "secretName": f"{prefix}{_AUTHORITY}",
        "duration": _AUTHORITY_LIFETIME,
        "privateKey": _KEY,
        "issuerRef": {"kind": _ISSUER.kind, "name": f"{prefix}{_SELF_SIGNED}"},
    }
    serving = {
        "secretName": DEFAULT_SECRET,
        "dnsNames": [host, f"{host}.{domain}"],
        "usages": _USAGES,
        "privateKey": _KEY,
        "issuerRef": {"kind": _ISSUER.kind, "name": f"{prefix}{_AUTHORITY}"},
    }
    return [
        _document(installation, _ISSUER, _SELF_SIGNED, {"selfSigned": {}}),
        _document(installation, _CERTIFICATE, _AUTHORITY, authority),
        _document(installation, _ISSUER, _AUTHORITY, {"ca": {"secretName": f"{prefix}{_AUTHORITY}"}}),
        _document(installation, _CERTIFICATE, SERVING, serving),
    ]


def patches(installation: Installation = DEFAULT_INSTALLATION) -> list[Object]:
    """The changes that kustomize makes to the default installation: strategic merge patches."""
    return [mounted(installation), *_injected(installation), *_rights_taken(installation)]


def _document(installation: Installation, resource: Resource, name: str, spec: Object) -> Object:
    named = metadata.document(resource, installation.prefix + name, namespace=installation.namespace)
    return {**named, "spec": spec}


def mounted(installation: Installation) -> Object:
    """The change of the Deployment: the certificate of the Service, and the flag that says where it is."""
    volume = "serving-cert"
    container = {
        "name": workload.CONTAINER,
        "args": [*workload.arguments(installation), f"--webhook-cert-path={CERTIFICATE_FOLDER}"],
        "volumeMounts": [{"name": volume, "mountPath": CERTIFICATE_FOLDER, "readOnly": True}],
    }
    secret = {"secretName": DEFAULT_SECRET, "optional": True}  # the engine does not wait for the certificate
    pod = {"containers": [container], "volumes": [{"name": volume, "secret": secret}]}
    name = f"{installation.prefix}controller-manager"
    return _patch(DEPLOYMENT, name, installation.namespace, {"spec": {"template": {"spec": pod}}})


def injected(installation: Installation) -> dict[str, str]:
    """The annotation of an object whose ``caBundle`` the injector fills in."""
    return {f"{_GROUP}/inject-ca-from": f"{installation.namespace}/{installation.prefix}{SERVING}"}


def _injected(installation: Installation) -> list[Object]:
    change = {"metadata": {"annotations": injected(installation)}}
    return [_patch(target.resource, target.name, "", change) for target in targets_of(installation.prefix)]


def _rights_taken(installation: Installation) -> list[Object]:
    return [
        {
            "$patch": "delete",
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {key: value for key, value in obj["metadata"].items() if key in ("name", "namespace")},
        }
        for table in (CERTIFICATES, CA_BUNDLES)
        for obj in table_objects(installation, table)
    ]


def _patch(resource: Resource, name: str, namespace: str, change: Object) -> Object:
    metadata_: Object = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata_ |= change.get("metadata", {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, **change, "metadata": metadata_}
