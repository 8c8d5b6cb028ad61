"""StoryTrigger: a request to start a Story, answered once. Source: Trigger contract 3 and 4."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.delivery import DedupeMode
from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import CONDITION_SIZE_RULES, Conditions, ObjectReference, RunReference
from core.api.resource import STORY_TRIGGER
from core.api.schema import Instant, Int64, JsonObject, WireModel


class DeliveryIdentity(WireModel):
    """What makes two requests the same."""

    submission_id: str = Field(
        min_length=1, max_length=253, description="Id of this submission; a repeated submission finds the same object."
    )
    input_hash: str | None = Field(
        None, max_length=64, description="Hexadecimal SHA-256 of the canonical `inputs`; required with a `key`."
    )
    key: str | None = Field(
        None,
        max_length=256,
        description="Business key; requests with equal key and inputs share one run. Required with mode `token` and "
        "`key`.",
    )
    mode: DedupeMode | None = Field(
        None, description="`none` (default): one run per `submissionId`. `token`, `key`: one run per `key`."
    )


class StoryTriggerSpec(WireModel):
    """What is requested."""

    delivery_identity: DeliveryIdentity = Field(description="What makes two requests the same.")
    story_ref: ObjectReference = Field(description="The Story to start.")
    impulse_ref: ObjectReference | None = Field(None, description="The Impulse that sends the request.")
    inputs: JsonObject | None = Field(None, description="Inputs of the StoryRun.")


class StoryTriggerStatus(WireModel):
    """How the request was answered."""

    validations = CONDITION_SIZE_RULES

    accepted_at: Instant | None = Field(None, description="When the operator first saw the request.")
    completed_at: Instant | None = Field(None, description="When the decision was made.")
    conditions: Conditions | None = Field(None, description="`Ready`, `Progressing` and `Degraded` of the request.")
    decision: Literal["Pending", "Created", "Reused", "Rejected"] | None = Field(
        None, description="`Created` or `Reused` a StoryRun, or `Rejected`; absent and `Pending` mean undecided."
    )
    message: str | None = Field(None, description="Explanation of the decision, for users.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    reason: str | None = Field(None, description="Machine-readable cause of the decision.")
    story_run_ref: RunReference | None = Field(None, description="The StoryRun that was created or reused.")


class StoryTrigger(KindModel):
    """A request to start a Story, answered once; equal requests share one StoryRun."""

    spec: StoryTriggerSpec = Field(description="What is requested; immutable.")
    status: StoryTriggerStatus | None = Field(None, description="How the request was answered.")


STORY_TRIGGER_KIND = Kind(
    STORY_TRIGGER,
    short_names=("trig",),
    categories=("bubu", "ai", "runs"),
    versions=(
        KindVersion(
            "v1alpha1",
            StoryTrigger,
            columns=(
                Column("Story", ".spec.storyRef.name"),
                Column("Decision", ".status.decision"),
                Column("StoryRun", ".status.storyRunRef.name"),
                AGE,
            ),
        ),
    ),
)
