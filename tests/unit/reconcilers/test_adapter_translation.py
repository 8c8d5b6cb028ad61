"""How errors of the client become errors of the engine."""

from __future__ import annotations

import pytest

from core.api.phases import Reason
from core.engine import errors as port
from core.kube import errors as kube
from kubewire import status_failure
from reconcilers.adapters.translation import port_errors


def answer(reason: str, message: str = "no", *, code: int | None = None, retry_after: float | None = None) -> Exception:
    status = status_failure(reason, message, code=code, details={"name": "x"})
    return kube.error_from_status(status, retry_after=retry_after)


def translated(error: Exception) -> port.PortError:
    with pytest.raises(port.PortError) as caught, port_errors():
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer("Conflict"), port.StaleError),
        (answer("NotFound"), port.GoneError),
        (answer("Invalid"), port.RejectedError),
        (answer("BadRequest"), port.RejectedError),
        (answer("AlreadyExists"), port.RejectedError),
        (answer("MethodNotAllowed"), port.RejectedError),
        (answer("UnsupportedMediaType"), port.RejectedError),
        (answer("RequestEntityTooLarge"), port.RejectedError),
        (answer("Unauthorized"), port.UnavailableError),
        (answer("TooManyRequests"), port.UnavailableError),
        (answer("InternalError"), port.UnavailableError),
        (answer("ServiceUnavailable"), port.UnavailableError),
        (answer("Timeout"), port.UnavailableError),
        (answer("Expired"), port.UnavailableError),
        (answer("", code=418), port.UnavailableError),
        (kube.NotServedError({"code": 404, "message": "no such kind"}), port.UnavailableError),
        (kube.UnreachableError("nobody there"), port.UnavailableError),
        (kube.DeadlineError("too slow", outcome_unknown=True), port.UnavailableError),
        (kube.TLSError("expired"), port.UnavailableError),
        (kube.ConfigError("no credentials"), port.UnavailableError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_every_client_error_becomes_the_most_exact_port_error(error: Exception, kind: type[port.PortError]) -> None:
    assert type(translated(error)) is kind


NOT_HELD = (
    'roles.rbac.authorization.k8s.io "r" is forbidden: user "m" (groups=["g"]) is attempting to grant RBAC permissions '
    'not currently held:\n{APIGroups:[""], Resources:["services"], Verbs:["get"]}'
)

NO_FINALIZERS = (
    'jobs.batch "j" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you '
    "can't set finalizers on: , <nil>"
)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('jobs.batch is forbidden: User "system:serviceaccount:b:m" cannot create resource "jobs"', port.DeniedError),
        (NOT_HELD, port.DeniedError),
        (NO_FINALIZERS, port.DeniedError),
        (
            'pods "x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=9, limited: pods=9',
            port.UnavailableError,
        ),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', port.RejectedError),
        ('pods "x" is forbidden: failed quota: compute: must specify limits.cpu', port.RejectedError),
        ('admission webhook "v.example" denied the request: images cannot come from there', port.RejectedError),
    ],
    ids=[
        "a right",
        "a right to hand on",
        "a right to own",
        "quota used up",
        "pod security",
        "quota needs limits",
        "webhook",
    ],
)
def test_a_refusal_is_definite_unless_rights_or_quota_may_be_mended(message: str, kind: type[port.PortError]) -> None:
    assert type(translated(answer("Forbidden", message))) is kind


def test_a_request_that_is_too_large_says_so() -> None:
    error = translated(answer("RequestEntityTooLarge"))
    assert isinstance(error, port.RejectedError)
    assert error.reason is Reason.INPUT_TOO_LARGE


def test_the_servers_wish_to_wait_is_handed_on() -> None:
    error = translated(answer("TooManyRequests", retry_after=7))
    assert isinstance(error, port.UnavailableError)
    assert error.retry_after_seconds == 7


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), port_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize("reason", ["Invalid", "Forbidden"])
def test_a_refusal_names_the_fields_that_the_server_names(reason: str) -> None:
    causes = [{"reason": "FieldValueNotFound", "message": "no", "field": "spec.storyRef.name"}]
    named = kube.error_from_status(status_failure(reason, "no", details={"name": "x", "causes": causes}))
    for error, fields in ((named, ("spec.storyRef.name",)), (answer(reason), ())):
        refusal = translated(error)
        assert isinstance(refusal, port.RejectedError)
        assert refusal.fields == fields
