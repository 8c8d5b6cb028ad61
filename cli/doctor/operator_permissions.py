"""Whether the operator's account has the permissions of this release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cli.doctor.access import Wanted, denied
from cli.doctor.context import DoctorContext
from core.api.objects import Object
from core.kube.errors import ForbiddenError
from deployment.packaged import Packaged, packaged
from deployment.permissions.names import DEFAULT_INSTALLATION, Installation
from views.doctor.diagnosis import Diagnosis, listed, ok, problem

_OF_OTHERS: Final = ("metrics-reader", "runner-grants")
"""Roles in the file that are not the operator's own."""


def wanted_of(documents: Iterable[Object], installation: Installation) -> list[Wanted]:
    """What the roles of the operator grant, each once, in the namespaces in which they are bound."""
    bound = {document["roleRef"]["name"]: document for document in documents if "roleRef" in document}
    own = [
        document
        for document in documents
        if "rules" in document
        and document["metadata"]["name"] in bound
        and not document["metadata"]["name"].endswith(_OF_OTHERS)
    ]
    return list(dict.fromkeys(each for role in own for each in _granted(role, installation)))


def diagnose(missing: Sequence[Wanted], asked: int, user: str) -> Diagnosis:
    if not missing:
        return ok(f"{user} has all {asked} permissions of this release")
    text = f"{user} may not {listed([str(each) for each in missing])}"
    return problem(
        text,
        "apply the roles of this release (bobrapet unpack manifests)",
        "kubectl apply --server-side -k manifests/default",
    )


async def examine(context: DoctorContext) -> list[Diagnosis]:
    """
    Raises:
        ForbiddenError: this user may not ask for others.
    """
    installation = context.installation
    account = installation.service_account
    try:
        found = await context.deployment()
    except ForbiddenError:
        found = None  # then it is the account of the manifests
    if found is not None:
        account = found["spec"]["template"]["spec"].get("serviceAccountName") or "default"
    user = f"system:serviceaccount:{installation.namespace}:{account}"
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{installation.namespace}", "system:authenticated")
    wanted = wanted_of(packaged(Packaged.PERMISSIONS), installation)
    missing = await denied(context.client, wanted, user=user, groups=groups)
    return [diagnose(missing, len(wanted), user)]


def _granted(role: Object, installation: Installation) -> Iterator[Wanted]:
    namespace = installation.namespace if role["kind"] == "Role" else ""
    for rule in role["rules"]:
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames") or [""]:
                        yield Wanted(verb, group, resource, namespace, _renamed(name, installation))


def _renamed(name: str, installation: Installation) -> str:
    """The name in an installation with another prefix."""
    prefix = DEFAULT_INSTALLATION.prefix
    return installation.prefix + name.removeprefix(prefix) if name.startswith(prefix) else name
