"""ReferenceGrant: which objects of other namespaces may refer to objects of this one. Source: Admission contract
3.7.
"""

from __future__ import annotations

from pydantic import Field

from core.api.kind import Kind, KindModel, KindVersion
from core.api.meta import Conditions
from core.api.resource import REFERENCE_GRANT
from core.api.schema import DNS_LABEL, LabelName, WireModel


class GrantSource(WireModel):
    """Kind and namespace that may refer."""

    group: str = Field(
        min_length=1, max_length=253, description="API group of the referring kind, for example `bubustack.io`."
    )
    kind: str = Field(min_length=1, max_length=63, description="Referring kind, for example `Story`.")
    namespace: LabelName = Field(description="Namespace of the referring objects.")


class GrantTarget(WireModel):
    """Kind, and perhaps name, that may be referred to."""

    group: str = Field(min_length=1, max_length=253, description="API group of the kind, for example `bubustack.io`.")
    kind: str = Field(min_length=1, max_length=63, description="Kind that may be referred to, for example `Engram`.")
    name: str | None = Field(
        None, max_length=253, pattern=DNS_LABEL, description="Name of the single object; absent: all of the kind."
    )


class ReferenceGrantSpec(WireModel):
    """Who may refer to what: any `from` entry to any `to` entry."""

    from_: list[GrantSource] = Field(alias="from", min_length=1, description="Kinds and namespaces that may refer.")
    to: list[GrantTarget] = Field(
        min_length=1, description="Kinds and names in this namespace that may be referred to."
    )


class ReferenceGrantStatus(WireModel):
    """What the operator found out about a grant."""

    conditions: Conditions | None = Field(None, description="Observed aspects of the grant.")


class ReferenceGrant(KindModel):
    """Allows objects of other namespaces to refer to objects of this one."""

    spec: ReferenceGrantSpec = Field(description="Which objects may refer to which.")
    status: ReferenceGrantStatus | None = Field(None, description="What the operator found out about it.")


REFERENCE_GRANT_KIND = Kind(
    REFERENCE_GRANT,
    short_names=("refgrant",),
    categories=("bubu", "ai"),
    versions=(
        KindVersion(
            "v1alpha1",
            ReferenceGrant,
        ),
    ),
)
