"""A stand-in for cert-manager and its CA injector, on its own definitions: it issues what Certificates ask for.

It does what cert-manager documents, and no more than our objects need: self-signed issuers and issuers with an
authority, in a namespace or in the cluster; names, duration, usages and a new key for each certificate; the Secret with
``tls.crt``, ``tls.key`` and ``ca.crt``; the condition ``Ready``; ``caBundle`` in each webhook configuration and
conversion that asks for it. A field of a Certificate that it does not know is an error.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from bubu_contract.durations import parse_duration
from certs.inject import MUTATING, VALIDATING, changes_for
from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, SECRET, Resource, Scope
from core.engine.clock import system_now
from core.kube.client import KubeClient
from core.kube.errors import ConflictError, NotFoundError
from kubewire import PatchType
from tools.control_plane.binaries import ensure_go_module

CERTIFICATE: Final = Resource("cert-manager.io", "v1", "certificates", "Certificate")
ISSUER: Final = Resource("cert-manager.io", "v1", "issuers", "Issuer")
CLUSTER_ISSUER: Final = Resource("cert-manager.io", "v1", "clusterissuers", "ClusterIssuer", Scope.CLUSTER)
CLUSTER_NAMESPACE: Final = "cert-manager"
"""The namespace of the Secrets of cluster issuers."""
_INJECT: Final = "cert-manager.io/inject-ca-from"
_LOOK_SECONDS: Final = 0.3
_KNOWN: Final = frozenset(
    ("commonName", "dnsNames", "duration", "ipAddresses", "isCA", "issuerRef", "privateKey", "secretName", "usages")
)
_KEY: Final = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
"""The only private key that Certificates may ask for here."""
_DEFAULT_DURATION: Final = "2160h"
_DEFAULT_USAGES: Final = ("digital signature", "key encipherment")
_EXTENDED: Final = {"server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH}


def definition_files() -> list[str]:
    """The files with cert-manager's own definitions of the three kinds.

    Raises:
        MissingBinariesError: there is no Go, which fetches the module that has them.
    """
    folder = ensure_go_module("cert-manager", "github.com/cert-manager/cert-manager") / "deploy" / "crds"
    return [str(folder / f"{each.group}_{each.plural}.yaml") for each in (CERTIFICATE, ISSUER, CLUSTER_ISSUER)]


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and the certificate that signed it: its own if it is self-signed."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    issuer: x509.Certificate

    def data(self) -> dict[str, str]:
        """The content of its Secret."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        parts = {"tls.crt": pem(self.certificate), "tls.key": key, "ca.crt": pem(self.issuer)}
        return {name: base64.b64encode(content).decode() for name, content in parts.items()}


@dataclass
class CertManager:
    """``run`` looks at all objects again and again; ``renew`` issues a certificate anew, as before its end."""

    client: KubeClient
    merges: bool = True
    """The injector keeps authorities that are trusted already, as with its feature gate ``CAInjectorMerging``."""
    rests: bool = False
    """``run`` does nothing."""
    _asked: dict[str, Object] = field(default_factory=dict)
    """What each Certificate, by UID, asked for when it was issued last."""
    _one: trio.Lock = field(default_factory=trio.Lock)

    async def run(self) -> None:
        while True:
            if not self.rests:
                await self.look()
            await trio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Issue what is missing or has changed, then inject. Whatever must wait for another object is left."""
        async with self._one:
            for certificate in (await self.client.list(CERTIFICATE)).items:
                try:
                    if not await self._is_issued(certificate):
                        await self._issue(certificate)
                except NotFoundError:
                    continue
            await self._inject()

    async def renew(self, name: str, namespace: str, *, lifetime: timedelta | None = None) -> x509.Certificate:
        """Issue it with a new key. ``lifetime``: instead of the duration that the Certificate asks for."""
        async with self._one:
            issued = await self._issue(await self.client.get(CERTIFICATE, name, namespace), lifetime)
            await self._inject()
        return issued.certificate

    async def add_cluster_issuer(self, name: str) -> None:
        """A ClusterIssuer with an authority of its own."""
        issued = issue({"isCA": True, "commonName": name}, None, system_now())
        await self._store(name, CLUSTER_NAMESPACE, issued)
        kind = {"apiVersion": CLUSTER_ISSUER.api_version, "kind": CLUSTER_ISSUER.kind}
        spec = {"ca": {"secretName": name}}
        await self.client.create(CLUSTER_ISSUER, {**kind, "metadata": {"name": name}, "spec": spec})

    # Issuing.

    async def _is_issued(self, certificate: Object) -> bool:
        if self._asked.get(certificate["metadata"]["uid"]) != certificate["spec"]:
            return False
        try:
            await self.client.get(SECRET, certificate["spec"]["secretName"], certificate["metadata"]["namespace"])
        except NotFoundError:
            return False
        return True

    async def _issue(self, certificate: Object, lifetime: timedelta | None = None) -> Issued:
        spec, head = certificate["spec"], certificate["metadata"]
        issuer = await self._issuer_of(certificate)
        issued = issue(spec, issuer, system_now(), lifetime)
        await self._store(spec["secretName"], head["namespace"], issued)
        self._asked[head["uid"]] = spec
        end = issued.certificate.not_valid_after_utc.isoformat()
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "issued"}
        status = {"conditions": [{**ready, "lastTransitionTime": end}], "notAfter": end}
        await self.client.patch(
            CERTIFICATE, head["name"], {"status": status}, namespace=head["namespace"], subresource="status"
        )
        return issued

    async def _issuer_of(self, certificate: Object) -> Issued | None:
        """None: the certificate is to be signed by its own key."""
        reference, namespace = certificate["spec"]["issuerRef"], certificate["metadata"]["namespace"]
        of_cluster = reference.get("kind") == CLUSTER_ISSUER.kind
        resource, namespace = (CLUSTER_ISSUER, CLUSTER_NAMESPACE) if of_cluster else (ISSUER, namespace)
        issuer = await self.client.get(resource, reference["name"], None if of_cluster else namespace)
        if "selfSigned" in issuer["spec"]:
            return None
        secret = await self.client.get(SECRET, issuer["spec"]["ca"]["secretName"], namespace)
        parts = {name: base64.b64decode(content) for name, content in secret["data"].items()}
        key = serialization.load_pem_private_key(parts["tls.key"], None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        signing, signer = (x509.load_pem_x509_certificate(parts[name]) for name in ("tls.crt", "ca.crt"))
        return Issued(signing, key, signer)

    async def _store(self, name: str, namespace: str, issued: Issued) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": issued.data()}
        secret["metadata"] = {"name": name, "namespace": namespace}
        await self.client.apply(SECRET, secret, field_manager="cert-manager-certificates-issuing", force=True)

    # Injecting.

    async def _inject(self) -> None:
        for resource in (MUTATING, VALIDATING, CUSTOM_RESOURCE_DEFINITION):
            for head in await self._heads(resource):
                source = (head.get("annotations") or {}).get(_INJECT)
                if source is not None:
                    await self._inject_into(resource, head["name"], *source.split("/"))

    async def _heads(self, resource: Resource) -> list[Object]:
        accept = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
        answer = await self.client.request("GET", resource.path(None), headers=accept)
        return [item["metadata"] for item in answer.json()["items"]]

    async def _inject_into(self, resource: Resource, name: str, namespace: str, certificate: str) -> None:
        try:
            spec = (await self.client.get(CERTIFICATE, certificate, namespace))["spec"]
            secret = await self.client.get(SECRET, spec["secretName"], namespace)
        except NotFoundError:
            return
        bundle = base64.b64decode(secret["data"]["ca.crt"])
        obj = await self.client.get(resource, name)
        beside = system_now() if self.merges else None
        if changes := changes_for(obj, bundle, beside_others_at=beside):
            try:
                await self.client.patch(resource, name, changes, patch_type=PatchType.JSON)
            except ConflictError:
                return  # the next look


def issue(spec: Object, issuer: Issued | None, now: datetime, lifetime: timedelta | None = None) -> Issued:
    """What a Certificate with ``spec`` asks for; signed by its own key without an ``issuer``.

    Raises:
        AssertionError: it asks for something that this stand-in does not know.
    """
    assert set(spec) <= _KNOWN, spec
    assert spec.get("privateKey", _KEY) == _KEY, spec["privateKey"]
    key = ec.generate_private_key(ec.SECP256R1())
    common = spec.get("commonName")
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)] if common else [])
    ends = now + (lifetime or parse_duration(spec.get("duration", _DEFAULT_DURATION)))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=bool(spec.get("isCA")), path_length=None), critical=True)
    )
    signer = issuer.key if issuer is not None else key
    identifiers = (
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
    )
    for extension, critical in (*_extensions(spec), *((each, False) for each in identifiers)):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signer, hashes.SHA256())
    return Issued(certificate, key, issuer.certificate if issuer is not None else certificate)


def _extensions(spec: Object) -> list[tuple[Any, bool]]:
    usages = spec.get("usages", _DEFAULT_USAGES)
    assert set(usages) <= {*_DEFAULT_USAGES, *_EXTENDED}, usages
    key_usage = x509.KeyUsage(
        digital_signature="digital signature" in usages,
        content_commitment=False,
        key_encipherment="key encipherment" in usages,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=bool(spec.get("isCA")),
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    found: list[tuple[Any, bool]] = [(key_usage, True)]
    if extended := [_EXTENDED[usage] for usage in usages if usage in _EXTENDED]:
        found.append((x509.ExtendedKeyUsage(extended), False))
    hosts: list[x509.GeneralName] = [x509.DNSName(name) for name in spec.get("dnsNames", ())]
    hosts += [x509.IPAddress(ipaddress.ip_address(each)) for each in spec.get("ipAddresses", ())]
    if hosts:
        found.append((x509.SubjectAlternativeName(hosts), not spec.get("commonName")))
    return found


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
