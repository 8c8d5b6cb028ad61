"""Webhook registrations with the URL of one operator process, because no Service can be reached here."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, IMPULSE, IMPULSE_TEMPLATE, STORY, STORY_RUN, Resource
from core.kube.errors import ApiError, InternalServerError, InvalidError
from deployment.registration import mutating_configuration, validating_configuration
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually, is_late
from tests.integration.admission_stand import led_to
from tools.control_plane.processes import ServerProcess

NAMES: Final = "--webhook-names=127.0.0.1"
WRONG: Final[Object] = {"spec": {"steps": [{"name": "a", "type": "sleep", "with": {"duration": "never"}}]}}
_ANSWERED: Final = r"admission reviews are answered.*\"url\": ?\"(https://127\.0\.0\.1:\d+)"
RIGHT: Final[Object] = {"spec": {"steps": [{"name": "a", "type": "sleep", "with": {"duration": "1s"}}]}}

_FIRST_REVIEWS: Final[tuple[tuple[Resource, Object], ...]] = (
    (ENGRAM_TEMPLATE, {"version": "1", "image": "test/none", "supportedModes": ["job"]}),
    (ENGRAM, {"templateRef": {"name": "none"}}),
    (IMPULSE_TEMPLATE, {"version": "1", "image": "test/none", "supportedModes": ["deployment"]}),
    (IMPULSE, {"templateRef": {"name": "none"}, "storyRef": {"name": "none"}}),
    (STORY_RUN, {"storyRef": {"name": "none"}}),
)


async def ask_admission(rig: OperatorRig, operator: ServerProcess) -> None:
    """From now on ``operator`` reviews what users write. It was started with ``NAMES``.

    The first review of a kind builds its models, which takes longer on a busy machine than an API server waits. So each
    kind that tests write is reviewed once before this returns, and nothing that they write is late for that.
    """
    url = await url_of(operator)
    await rig.client.create(MUTATING, led_to(mutating_configuration(), url))
    await rig.client.create(VALIDATING, led_to(validating_configuration(), url))
    await is_asked(rig, operator)
    for resource, spec in _FIRST_REVIEWS:
        await eventually(partial(is_reviewed, rig, resource, spec), operator.tail)


async def is_reviewed(rig: OperatorRig, resource: Resource, spec: Object) -> bool:
    """Whether an object of this kind is reviewed in time. It is not stored."""
    metadata = {"name": "first", **({"namespace": FLOWS} if resource.namespaced else {})}
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
    try:
        await rig.client.create(resource, document, dry_run=True)
    except InvalidError:
        return True  # its references do not exist
    except InternalServerError as error:
        if not is_late(str(error)):
            raise
        return False
    return True


async def url_of(operator: ServerProcess) -> str:
    """Wait until the process answers reviews; returns where."""
    found: list[str] = []

    async def answers() -> bool:
        found[:] = re.findall(_ANSWERED, operator.log.read_text())
        return bool(found)

    await eventually(answers, operator.tail)
    return found[-1]


async def ask_nobody(rig: OperatorRig) -> None:
    for target in DEFAULT_TARGETS[:2]:
        await rig.client.delete(target.resource, target.name)


async def is_asked(rig: OperatorRig, operator: ServerProcess) -> None:
    """Wait until the API server asks ``operator`` about what users write."""
    trouble = ""

    async def holds() -> bool:
        nonlocal trouble
        trouble = await why_not_watchful(rig)
        return not trouble

    await eventually(holds, lambda: f"admission is not asked: {trouble}\n{operator.tail()}")


async def is_watchful(rig: OperatorRig) -> bool:
    """Whether an invalid object is refused for its error, and a valid object is admitted."""
    return not await why_not_watchful(rig)


async def why_not_watchful(rig: OperatorRig) -> str:
    """Empty once an invalid object is refused for its error, and a valid object is admitted."""
    try:
        await rig.create(STORY, "wrong", WRONG)
    except InvalidError as error:
        if [cause.field for cause in error.causes] != ["spec.steps[0].with.duration"]:
            return f"refused for something else: {error}"
    except ApiError as error:
        return f"the operator does not answer, or its certificate is not trusted yet: {error}"
    else:
        await rig.client.delete(STORY, "wrong", FLOWS)
        return "an invalid Story was stored"
    try:
        await rig.create(STORY, "right", RIGHT)
    except ApiError as error:
        return f"a valid Story was refused: {error}"
    await rig.client.delete(STORY, "right", FLOWS)
    return ""
