"""Whether admission answers: a dry run of a Story that it must refuse. Nothing is stored, whatever the answer is."""

from __future__ import annotations

from typing import Final

from cli.doctor.context import DoctorContext
from core.api.objects import Object
from core.api.resource import STORY
from core.kube.errors import ApiError, ForbiddenError, InternalServerError, KubeError, NotFoundError, NotServedError
from views.doctor.diagnosis import Diagnosis, ok, problem, skipped, warning

WRONG_STORY: Final[Object] = {
    "apiVersion": STORY.api_version,
    "kind": STORY.kind,
    "metadata": {"generateName": "bobrapet-doctor-"},
    "spec": {"steps": [{"name": "doctor", "type": "sleep", "with": {"duration": "never"}}]},
}
"""The schema accepts it, admission does not."""
WRONG_FIELD: Final = "spec.steps[0].with.duration"
_LOOK: Final = "look at the Pods and logs of the operator, and at the checks of webhooks and certificates"


def diagnose(error: KubeError | None, namespace: str, *, of_operator: bool) -> Diagnosis:
    """What an answer means.

    Args:
        error: None: the object was accepted.
        of_operator: ``namespace`` is the operator's own, in which webhooks do not apply.
    """
    match error:
        case None if of_operator:
            return skipped("webhooks do not apply in the operator's own namespace: name another with --namespace")
        case None:
            return problem(
                "an invalid Story would be accepted: the webhooks are not called",
                "apply the webhook configurations (bobrapet unpack manifests)",
                "kubectl apply --server-side -k manifests/default",
            )
        case ForbiddenError():
            return skipped(f"you may not create Stories in namespace {namespace}, so admission cannot be tried")
        case NotFoundError():
            return skipped(f"there is no namespace {namespace}, so admission cannot be tried")
        case NotServedError():
            return skipped("the cluster does not serve Stories, so admission cannot be tried")
        case ApiError() if any(cause.field == WRONG_FIELD for cause in error.causes):
            return ok("admission answers, and refuses an invalid Story")
        case InternalServerError():
            return problem(f"API servers cannot call admission, so writes are refused: {error.message}", _LOOK)
        case ApiError():
            return warning(f"an invalid Story is refused, but not by admission: {error.message}", _LOOK)
        case _:
            return problem(f"admission cannot be tried: {error}", _LOOK)


async def examine(context: DoctorContext) -> list[Diagnosis]:
    namespace = context.session.namespace
    error: KubeError | None = None
    try:
        await context.client.create(STORY, WRONG_STORY, namespace=namespace, dry_run=True)
    except KubeError as refused:
        error = refused
    return [diagnose(error, namespace, of_operator=namespace == context.installation.namespace)]
