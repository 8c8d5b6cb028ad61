"""Decides whether an object in one namespace may refer to an object in another.

Pure: the caller passes the grants of the target namespace. Source: operator contract 17, admission contract 3.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.policy.settings import CrossNamespacePolicy


@dataclass(frozen=True, slots=True)
class ForeignReference:
    """From a kind in one namespace to a named object of a kind in another."""

    from_group: str
    from_kind: str
    from_namespace: str
    to_group: str
    to_kind: str
    to_namespace: str
    to_name: str

    @property
    def same_namespace(self) -> bool:
        return not self.from_namespace or not self.to_namespace or self.from_namespace == self.to_namespace


def why_denied(
    reference: ForeignReference, policy: CrossNamespacePolicy, grants: Iterable[Mapping[str, Any]] = ()
) -> str | None:
    """None when the reference is allowed; otherwise the reason, and what would allow it.

    ``grants`` are the ReferenceGrants of the target namespace; only the policy ``grant`` uses them.
    """
    if reference.same_namespace or policy is CrossNamespacePolicy.ALLOW:
        return None
    target = f"{reference.to_kind} {reference.to_namespace}/{reference.to_name}"
    if policy is CrossNamespacePolicy.DENY:
        return (
            f"{reference.from_kind} in namespace {reference.from_namespace} may not refer to {target}: "
            "references.cross-namespace-policy is deny"
        )
    if any(_grants(grant, reference) for grant in grants):
        return None
    return (
        f"no ReferenceGrant in namespace {reference.to_namespace} allows {reference.from_group}/{reference.from_kind} "
        f"from namespace {reference.from_namespace} to refer to {target}"
    )


def _grants(grant: Mapping[str, Any], reference: ForeignReference) -> bool:
    spec = grant.get("spec") or {}
    return any(
        _word(entry, "group") == reference.from_group
        and _word(entry, "kind") == reference.from_kind
        and _word(entry, "namespace") == reference.from_namespace
        for entry in spec.get("from") or ()
    ) and any(
        _word(entry, "group") == reference.to_group
        and _word(entry, "kind") == reference.to_kind
        and _word(entry, "name") in ("", reference.to_name)
        for entry in spec.get("to") or ()
    )


def _word(entry: Mapping[str, Any], key: str) -> str:
    return str(entry.get(key) or "").strip()
