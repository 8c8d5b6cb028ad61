"""Whether the certificates of admission are valid, and trusted where API servers read their authorities."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from bubu_contract.instants import format_instant
from certs.inject import DEFAULT_TARGETS, is_injected
from certs.rotation import DEFAULT_SECRET
from cli.doctor.context import DoctorContext
from core.api.objects import Object
from core.api.resource import SECRET
from core.engine.clock import system_now
from core.kube.errors import ForbiddenError, NotFoundError
from views.doctor.diagnosis import Diagnosis, ok, problem, skipped, warning

LATE: Final = 5
"""A certificate is renewed when about a third of its lifetime is left. One with less than a fifth was not renewed."""


@dataclass(frozen=True, slots=True)
class CertificateMaker:
    """Who issues the certificate and writes the bundles: what to do where it has not."""

    missing: str
    renewal: tuple[str, str]
    """And a command."""
    bundles: str


OPERATOR: Final = CertificateMaker(
    "a running operator writes it",
    ("a running operator renews its own certificates", "bobrapet certs rotate"),
    "the operator writes it within seconds: look at its logs, and at its role bobrapet-ca-bundle-role",
)


def cert_manager(namespace: str) -> CertificateMaker:
    """cert-manager, with its Certificates in the operator's namespace."""
    return CertificateMaker(
        f"cert-manager writes it: look at Certificates and Issuers in {namespace}",
        (
            f"cert-manager renews it: look at Certificates and Issuers in {namespace}",
            f"kubectl -n {namespace} describe certificates.cert-manager.io",
        ),
        f"cert-manager's injector writes it: look at its logs, and at the Certificates in {namespace}",
    )


def of_served(certificate: x509.Certificate, now: datetime, maker: CertificateMaker = OPERATOR) -> Diagnosis:
    """Whether the certificate that admission serves is valid now, and for some days more."""
    until = certificate.not_valid_after_utc
    if now > until:
        return problem(f"the certificate of admission has expired at {format_instant(until)}", *maker.renewal)
    if now < certificate.not_valid_before_utc:
        begins = format_instant(certificate.not_valid_before_utc)
        return problem(f"the certificate of admission is valid from {begins} on", "look at the clocks")
    if until - now < (until - certificate.not_valid_before_utc) / LATE:
        text = f"the certificate of admission expires at {format_instant(until)}, and was not renewed in time"
        return warning(text, *maker.renewal)
    return ok(f"the certificate of admission is valid until {format_instant(until)}")


def of_bundles(
    bundles: Mapping[str, Sequence[bytes]],
    served: x509.Certificate | None,
    now: datetime,
    maker: CertificateMaker = OPERATOR,
) -> list[Diagnosis]:
    """
    Args:
        bundles: PEM, by the place where API servers read it.
        served: the certificate that they must trust; None: not known.
    """
    wrong: dict[str, list[str]] = {}
    for place, texts in bundles.items():
        for text in dict.fromkeys(texts):
            if why := _why_not_trusted(text, served, now):
                wrong.setdefault(why, []).append(place)
    found = [
        problem(
            f"the caBundle of {', '.join(dict.fromkeys(places))} {why}: API servers do not trust admission",
            maker.bundles,
        )
        for why, places in wrong.items()
    ]
    if found or not bundles:
        return found
    says = "trust the served certificate" if served is not None else "have valid authorities"
    return [ok(f"{len(bundles)} objects with a caBundle {says}")]


def _why_not_trusted(bundle: bytes, served: x509.Certificate | None, now: datetime) -> str:
    """What is wrong with a bundle; empty if nothing is."""
    authorities = _certificates(bundle)
    valid = [each for each in authorities if each.not_valid_before_utc <= now <= each.not_valid_after_utc]
    if not authorities:
        return "is empty or cannot be read"
    if not valid:
        return "has no authority that is valid now"
    if served is not None and not any(_is_issued_by(served, each) for each in valid):
        return "does not have the authority of the served certificate"
    return ""


async def examine(context: DoctorContext) -> list[Diagnosis]:
    if context.is_embedded:
        return [skipped("admission of an embedded cluster needs no certificates")]
    now = system_now()
    bundles, maker = {}, OPERATOR
    for target in DEFAULT_TARGETS:
        try:
            obj = await context.client.get(target.resource, target.name)
        except NotFoundError:
            continue  # another check says so
        if is_injected(obj):
            maker = cert_manager(context.installation.namespace)
        if configs := client_configs(obj):
            bundles[str(target)] = [_decoded(config.get("caBundle")) for config in configs]
    found, served = await _served(context, now, maker)
    return [*found, *of_bundles(bundles, served, now, maker)]


async def _served(
    context: DoctorContext, now: datetime, maker: CertificateMaker
) -> tuple[list[Diagnosis], x509.Certificate | None]:
    """The certificate that admission serves, and what there is to say about it."""
    if not context.reads_secrets:
        return [skipped("the served certificate is in a Secret, which is not read here")], None
    found, served = list[Diagnosis](), None
    try:
        secret = await context.client.get(SECRET, DEFAULT_SECRET, context.installation.namespace)
    except ForbiddenError:
        found.append(skipped(f"you may not read Secret {DEFAULT_SECRET}; only the authorities are examined"))
    except NotFoundError:
        place = f"{context.installation.namespace}/{DEFAULT_SECRET}"
        found.append(problem(f"there is no Secret {place} with a certificate", maker.missing))
    else:
        certificates = _certificates(_decoded((secret.get("data") or {}).get("tls.crt")))
        served = certificates[0] if certificates else None
        found.append(
            of_served(served, now, maker)
            if served is not None
            else problem(f"Secret {DEFAULT_SECRET} has no certificate that can be read", maker.missing)
        )
    return found, served


def client_configs(obj: Object) -> list[Object]:
    """Where API servers find the webhooks of a configuration, or the conversion of a definition."""
    webhooks = [each.get("clientConfig") or {} for each in obj.get("webhooks") or ()]
    conversion = ((obj.get("spec") or {}).get("conversion") or {}).get("webhook") or {}
    return [*webhooks, *([conversion["clientConfig"]] if conversion.get("clientConfig") else [])]


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text or ""), validate=True)
    except binascii.Error:
        return b""


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
