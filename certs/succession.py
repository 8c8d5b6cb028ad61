"""Creates the next generation, for each step of the policy. Pure except for randomness."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cryptography import x509

from certs.authority import issue_authority, issue_leaf, within_time
from certs.material import Material, Rotation
from certs.policy import CertRules, Damaged, Kept, Stored, SuccessionStep


def follow(step: SuccessionStep, stored: Stored, held: Material | None, now: datetime, rules: CertRules) -> Material:
    """The material to store after ``step`` was decided with the same arguments.

    Raises:
        ValueError: the step changes nothing, or does not fit the stored state.
    """
    match step, stored:
        case SuccessionStep.BOOTSTRAP, _:
            return _found(stored, held, now, rules)
        case SuccessionStep.RESTORE, _ if held is not None:
            return held
        case SuccessionStep.TRUST_SERVED, Kept(material) if held is not None:
            known = (*material.retired, *(old for old in held.trusted if old not in material.trusted))
            return replace(material, retired=known, activated_at=now, generation=material.generation + 1)
        case SuccessionStep.INTRODUCE, Kept(material):
            upcoming = issue_authority(rules.names, now, rules.lifetimes, subject=rules.subject)
            return replace(material, upcoming=upcoming, published_at=None, generation=material.generation + 1)
        case SuccessionStep.PROMOTE, Kept(material):
            return _promoted(material, now, rules)
        case SuccessionStep.RENEW_LEAF, Kept(material):
            requested = None if material.requested is Rotation.LEAF else material.requested
            renewed = with_new_leaf(material, now, rules)
            return replace(renewed, requested=requested, generation=material.generation + 1)
        case SuccessionStep.RETIRE, Kept(material):
            return replace(material, retired=(), generation=material.generation + 1)
        case _:
            raise ValueError(f"step {step} cannot be applied to {type(stored).__name__}")


def with_new_leaf(material: Material, now: datetime, rules: CertRules) -> Material:
    """The same generation with a leaf issued ``now``, which may be served even before it can be stored."""
    return replace(material, leaf=issue_leaf(material.active, rules.names, now, rules.lifetimes, subject=rules.subject))


def published(material: Material, now: datetime) -> Material:
    """Record that all targets trust the upcoming authority."""
    return replace(material, published_at=now, generation=material.generation + 1)


def _found(stored: Stored, held: Material | None, now: datetime, rules: CertRules) -> Material:
    known: tuple[x509.Certificate, ...] = () if held is None else held.trusted
    generation = 0 if held is None else held.generation
    match stored:
        case Damaged(_, survivors):
            known += survivors
        case Kept(material):
            known += material.trusted
            generation = max(generation, material.generation)
    authority = issue_authority(rules.names, now, rules.lifetimes, subject=rules.subject)
    old = tuple(dict.fromkeys(certificate for certificate in known if within_time(certificate, now)))
    leaf = issue_leaf(authority, rules.names, now, rules.lifetimes, subject=rules.subject)
    return Material(authority, leaf, activated_at=now, generation=generation + 1, retired=old)


def _promoted(material: Material, now: datetime, rules: CertRules) -> Material:
    if material.upcoming is None:
        raise ValueError("no upcoming authority to promote")
    return Material(
        active=material.upcoming,
        leaf=issue_leaf(material.upcoming, rules.names, now, rules.lifetimes, subject=rules.subject),
        activated_at=now,
        generation=material.generation + 1,
        retired=(material.active.certificate, *material.retired),
        requested=None if material.requested is Rotation.AUTHORITY else material.requested,
    )
