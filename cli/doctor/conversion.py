"""Whether Stories can be read in all versions that are served: the API server asks the operator to convert them."""

from __future__ import annotations

from typing import Final

import httpx

from cli.doctor.context import DoctorContext
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, STORY
from core.kube.errors import ApiError, NotFoundError, error_from_answer
from views.doctor.diagnosis import Diagnosis, ok, problem, skipped

OTHER_VERSION: Final = "v1beta1"


def diagnose(error: ApiError | None, stories: int) -> Diagnosis:
    """What the answer to a list in another version than the stored one means."""
    if error is None:
        if not stories:
            return skipped("there is no Story in the namespace that could be read in another version")
        return ok(f"Stories can be read in version {OTHER_VERSION}")
    return problem(
        f"Stories cannot be read in version {OTHER_VERSION}: {error.message}",
        "look at the operator and at the checks of webhooks and certificates: they convert between versions, too",
    )


async def examine(context: DoctorContext) -> list[Diagnosis]:
    """
    Raises:
        ApiError: the definition cannot be read, or this user may not list Stories.
    """
    try:
        definition = await context.client.get(CUSTOM_RESOURCE_DEFINITION, f"{STORY.plural}.{STORY.group}")
    except NotFoundError:
        return [skipped("the cluster does not serve Stories")]
    served = [each["name"] for each in definition["spec"]["versions"] if each.get("served")]
    if OTHER_VERSION not in served:
        return [skipped(f"Stories are not served in version {OTHER_VERSION}")]
    path = f"/apis/{STORY.group}/{OTHER_VERSION}/namespaces/{context.session.namespace}/{STORY.plural}"
    response = await context.client.request("GET", path, params={"limit": "1"})
    if response.is_error:
        return [diagnose(_error_of(response), 0)]
    return [diagnose(None, len(response.json().get("items") or ()))]


def _error_of(response: httpx.Response) -> ApiError:
    """
    Raises:
        ApiError: the user may not ask; this says nothing about the conversion.
    """
    error = error_from_answer(response.status_code, response.content)
    if response.status_code in (401, 403):
        raise error
    return error
