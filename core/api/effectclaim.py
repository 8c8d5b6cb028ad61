"""EffectClaim: a lease on one effect of a step. Source: Trigger contract 8."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import CONDITION_SIZE_RULES, Conditions, RunReference
from core.api.resource import EFFECT_CLAIM
from core.api.schema import Instant, Int32, Int64, JsonObject, WireModel


class EffectClaimSpec(WireModel):
    """The effect, and which attempt holds it."""

    effect_key: str = Field(min_length=1, max_length=256, description="Key of the effect within the step.")
    step_run_ref: RunReference = Field(description="The StepRun the effect belongs to, in the same namespace.")
    acquire_time: Instant | None = Field(None, description="When the holder took the lease.")
    completed_at: Instant | None = Field(None, description="When the effect was completed.")
    completion_status: Literal["completed", "released", "abandoned"] | None = Field(
        None, description="How the lease ended; `completed` is final."
    )
    details: JsonObject | None = Field(None, description="Facts about the completed effect.")
    holder_identity: str | None = Field(None, max_length=253, description="Which attempt holds the lease; empty: none.")
    idempotency_key: str | None = Field(None, max_length=256, description="Idempotency key of the StepRun.")
    lease_duration_seconds: Int32 | None = Field(
        None, ge=1, description="Seconds after `renewTime` at which the lease may be taken over."
    )
    lease_transitions: Int32 | None = Field(None, ge=0, description="Times the lease was taken over.")
    renew_time: Instant | None = Field(None, description="When the holder last renewed the lease.")


class EffectClaimStatus(WireModel):
    """Where a claim stands."""

    validations = CONDITION_SIZE_RULES

    conditions: Conditions | None = Field(None, description="`Ready` of the claim.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    phase: Literal["Reserved", "Completed", "Released", "Abandoned"] | None = Field(
        None, description="`Reserved` while held, then how it ended."
    )


class EffectClaim(KindModel):
    """A lease on one effect of a step, so that it happens once over retries."""

    spec: EffectClaimSpec = Field(description="The effect, and which attempt holds it.")
    status: EffectClaimStatus | None = Field(None, description="State of the claim.")


EFFECT_CLAIM_KIND = Kind(
    EFFECT_CLAIM,
    short_names=("eff",),
    categories=("bubu", "ai", "runs"),
    versions=(
        KindVersion(
            "v1alpha1",
            EffectClaim,
            columns=(
                Column("StepRun", ".spec.stepRunRef.name"),
                Column("Effect", ".spec.effectKey"),
                Column("Holder", ".spec.holderIdentity"),
                Column("Phase", ".status.phase"),
                AGE,
            ),
        ),
    ),
)
