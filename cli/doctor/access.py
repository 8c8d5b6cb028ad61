"""Asks the API server what an account may do: reviews are answers, nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from core.api.objects import Object
from core.api.resource import SUBJECT_ACCESS_REVIEW, Resource, Scope
from core.kube.client import KubeClient
from core.kube.errors import KubeError

SELF_SUBJECT_ACCESS_REVIEW: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", Scope.CLUSTER
)
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """One permission. ``resource`` is the plural, with a subresource if there is one."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        plural, slash, subresource = self.resource.partition("/")
        name = f" {self.name}" if self.name else ""
        return f"{self.verb} {plural}{group}{slash}{subresource}{name}"

    def attributes(self) -> Object:
        plural, _, subresource = self.resource.partition("/")
        found = {"verb": self.verb, "group": self.group, "resource": plural, "namespace": self.namespace}
        return found | {key: value for key, value in (("subresource", subresource), ("name", self.name)) if value}


async def denied(
    client: KubeClient, wanted: Sequence[Wanted], *, user: str = "", groups: Iterable[str] = ()
) -> list[Wanted]:
    """Those of ``wanted`` that ``user`` does not have; without a user, this command's own.

    Raises:
        KubeError: the server does not answer, or this user may not ask.
    """
    kind = SUBJECT_ACCESS_REVIEW if user else SELF_SUBJECT_ACCESS_REVIEW
    who: Object = {"user": user, "groups": list(groups)} if user else {}
    found: list[Wanted] = []
    errors: list[KubeError] = []
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def ask(each: Wanted, stop: Callable[[], None]) -> None:
        async with limiter:
            review = {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "spec": {**who, "resourceAttributes": each.attributes()},
            }
            try:
                answer = await client.create(kind, review)
            except KubeError as error:
                errors.append(error)
                stop()
                return
        if not (answer.get("status") or {}).get("allowed"):
            found.append(each)

    async with trio.open_nursery() as nursery:
        for each in wanted:
            nursery.start_soon(ask, each, nursery.cancel_scope.cancel)
    if errors:
        raise errors[0]
    return sorted(found, key=wanted.index)
