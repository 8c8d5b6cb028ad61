"""The next step of certificate rotation, from the stored Secret, the generation in use, and the time.

Pure. The order of the checks is the policy: first, all replicas use one generation; then, it trusts the certificate in
use; then the signer; then the served certificate; then what may be removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from cryptography import x509

from certs.authority import DEFAULT_LIFETIMES, DEFAULT_SUBJECT, Lifetimes, Pair, may_issue_for, names_of, within_time
from certs.material import Material, Rotation


class SuccessionStep(StrEnum):
    SERVE = "serve"
    """Nothing to change."""
    HOLD = "hold"
    """The Secret belongs to somebody else: do not change it."""
    BOOTSTRAP = "bootstrap"
    """Start again: create an authority and a leaf, and trust all old authorities that are still known."""
    RESTORE = "restore"
    """Write the generation of this process again."""
    TRUST_SERVED = "trust-served"
    """Trust the authority of the served certificate, too: it is missing in the stored generation."""
    INTRODUCE = "introduce"
    """Create the next authority; it is published and signs nothing yet."""
    PROMOTE = "promote"
    """Let the upcoming authority sign, and serve a leaf of it."""
    RENEW_LEAF = "renew-leaf"
    RETIRE = "retire"
    """Remove authorities that no valid leaf needs."""


REACTIVE: Final = frozenset({SuccessionStep.BOOTSTRAP, SuccessionStep.RESTORE, SuccessionStep.TRUST_SERVED})
"""Reactions to changes that others made to the Secret: their rate must be limited, or two programs could fight over
it.
"""


@dataclass(frozen=True, slots=True)
class Absent:
    """The Secret does not exist, or is empty."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """The operator's Secret without a complete generation: every problem, and the authorities that are still
    readable.
    """

    problems: tuple[str, ...]
    survivors: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Foreign:
    """A Secret that the operator did not create and never writes: its certificate, or why that cannot be served."""

    problems: tuple[str, ...] = ()
    provided: Provided | None = None


@dataclass(frozen=True, slots=True)
class Provided:
    """A certificate, its key and its authorities, which another component renews."""

    leaf: Pair
    chain: tuple[x509.Certificate, ...]
    trusted: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """The operator's Secret with one complete generation."""

    material: Material


Stored: TypeAlias = Absent | Damaged | Foreign | Kept


@dataclass(frozen=True, slots=True)
class RotationStep:
    step: SuccessionStep
    reason: str
    """One clause for logs and Events; never contains keys."""


@dataclass(frozen=True, slots=True)
class CertRules:
    """The names and lifetimes of certificates."""

    names: tuple[str, ...]
    lifetimes: Lifetimes = DEFAULT_LIFETIMES
    subject: str = DEFAULT_SUBJECT
    """What the certificates are for, in their common names."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a certificate needs at least one name")


def decide(stored: Stored, held: Material | None, now: datetime, rules: CertRules) -> RotationStep:
    """The next step.

    Args:
        held: the newest generation that this process has seen; None after a start.
        now: by the clock of the verifiers.
    """
    mine = held if held is not None and not why_cannot_sign(held, now, rules) else None
    match stored:
        case Foreign():
            return RotationStep(SuccessionStep.HOLD, "the Secret does not belong to the operator")
        case Absent():
            return _begin(mine, "the Secret does not exist or is empty")
        case Damaged(problems):
            return _begin(mine, "; ".join(problems))
        case Kept(material):
            return _agree(material, mine, now, rules) or _succeed(material, now, rules)


def why_cannot_sign(material: Material, now: datetime, rules: CertRules) -> str:
    """Why the generation's authority cannot be used any more; empty when it can."""
    authority = material.active.certificate
    if not within_time(authority, now):
        return "the authority is expired or not yet valid"
    if not may_issue_for(authority, rules.names):
        return f"the authority may not issue for {', '.join(rules.names)}"
    return ""


def why_renew(material: Material, now: datetime, rules: CertRules) -> str:
    """Why the leaf must be renewed; empty while it is valid. It is due after two thirds of its lifetime."""
    leaf, authority = material.leaf.certificate, material.active.certificate
    if not within_time(leaf, now):
        return "the certificate is expired or not yet valid"
    if not names_of(leaf) >= set(rules.names):
        return f"the certificate is not for {', '.join(rules.names)}"
    if now >= renew_at(leaf, rules.lifetimes) and leaf.not_valid_after_utc < authority.not_valid_after_utc:
        return "the certificate has passed two thirds of its lifetime"
    if material.requested is Rotation.LEAF:
        return "a user requested it"
    return ""


def renew_at(leaf: x509.Certificate, lifetimes: Lifetimes) -> datetime:
    """When two thirds of the leaf's lifetime are over, counted from its issue."""
    issued_at = leaf.not_valid_before_utc + lifetimes.backdated
    return leaf.not_valid_after_utc - (leaf.not_valid_after_utc - issued_at) / 3


def next_due(material: Material, rules: CertRules) -> datetime:
    """When the next step is due if nothing else happens."""
    lifetimes, end = rules.lifetimes, material.active.certificate.not_valid_after_utc
    leaf = material.leaf.certificate
    due = [end if leaf.not_valid_after_utc >= end else renew_at(leaf, lifetimes)]
    if material.upcoming is None:
        due.append(end - lifetimes.overlap)
    elif material.published_at is not None:
        due.append(_promote_at(material, material.published_at, lifetimes))
    if material.retired:
        due.append(_forget_at(material, lifetimes))
    return min(due)


def _begin(mine: Material | None, why: str) -> RotationStep:
    return RotationStep(SuccessionStep.BOOTSTRAP if mine is None else SuccessionStep.RESTORE, why)


def _agree(material: Material, mine: Material | None, now: datetime, rules: CertRules) -> RotationStep | None:
    if why := why_cannot_sign(material, now, rules):
        return _begin(mine, why)
    if mine is None:
        return None
    if mine.generation > material.generation:
        return RotationStep(SuccessionStep.RESTORE, f"generation {material.generation} is older than {mine.generation}")
    if mine.active.certificate not in material.trusted:
        return RotationStep(SuccessionStep.TRUST_SERVED, "the stored bundle does not trust the certificate in use")
    return None


def _succeed(material: Material, now: datetime, rules: CertRules) -> RotationStep:
    lifetimes, upcoming = rules.lifetimes, material.upcoming
    if upcoming is not None and not _is_fit(upcoming, now, rules):
        return RotationStep(SuccessionStep.INTRODUCE, "the upcoming authority cannot be used")
    if upcoming is None and now >= material.active.certificate.not_valid_after_utc - lifetimes.overlap:
        return RotationStep(SuccessionStep.INTRODUCE, "the authority is about to expire")
    if upcoming is None and material.requested is Rotation.AUTHORITY:
        return RotationStep(SuccessionStep.INTRODUCE, "a user requested it")
    published_at = material.published_at
    if upcoming is not None and published_at is not None and now >= _promote_at(material, published_at, lifetimes):
        return RotationStep(SuccessionStep.PROMOTE, "the upcoming authority is trusted everywhere")
    if why := why_renew(material, now, rules):
        return RotationStep(SuccessionStep.RENEW_LEAF, why)
    if material.retired and now >= _forget_at(material, lifetimes):
        return RotationStep(SuccessionStep.RETIRE, "every certificate of the old authority has expired")
    return RotationStep(SuccessionStep.SERVE, "nothing to do")


def _is_fit(authority: Pair, now: datetime, rules: CertRules) -> bool:
    return within_time(authority.certificate, now) and may_issue_for(authority.certificate, rules.names)


def _promote_at(material: Material, published_at: datetime, lifetimes: Lifetimes) -> datetime:
    """After the settling time; sooner if a user requested it, or if the old authority would expire before."""
    end = material.active.certificate.not_valid_after_utc
    hurried = min(published_at + lifetimes.hurry, end - lifetimes.hurry)
    if material.requested is Rotation.AUTHORITY:
        return hurried
    return max(hurried, min(published_at + lifetimes.settle, end - lifetimes.settle))


def _forget_at(material: Material, lifetimes: Lifetimes) -> datetime:
    return material.activated_at + lifetimes.leaf + max(lifetimes.backdated, timedelta(seconds=1))
