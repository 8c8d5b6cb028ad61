"""How events start runs; the type that Impulses and their templates share. Source: Trigger contract 5.3."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.execution import Backoff
from core.api.schema import Int32, WireModel

DedupeMode = Literal["none", "token", "key"]


class DedupePolicy(WireModel):
    """How repeated events are recognised."""

    key_template: str | None = Field(
        None,
        description="Template of the key over `inputs`, `story` and `impulse`; required with mode `key`, else "
        "forbidden.",
    )
    mode: DedupeMode | None = Field(
        None,
        description="`none` (default): each event starts a run. `token`: the caller supplies a key. `key`: the key "
        "comes from `keyTemplate`.",
    )


class DeliveryRetry(WireModel):
    """How a failed submission is repeated."""

    backoff: Backoff | None = Field(
        None, description="How the delay grows: `exponential` (default), `linear` or `constant`."
    )
    base_delay: str | None = Field(None, description="First delay as a Go duration; 0 or absent: 1s.")
    max_attempts: Int32 | None = Field(None, ge=0, description="Attempts in all; 0 or absent: 1.")
    max_delay: str | None = Field(None, description="Upper bound of the delay as a Go duration; 0 or absent: 5m.")


class DeliveryPolicy(WireModel):
    """How events become runs."""

    dedupe: DedupePolicy | None = Field(None, description="How repeated events are recognised.")
    retry: DeliveryRetry | None = Field(None, description="How a failed submission is repeated.")
