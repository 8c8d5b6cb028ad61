"""Whether the admission policies of this release, which apply while admission is down, are present and bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cli.doctor.context import DoctorContext
from core.api.objects import Object
from deployment.files import policies
from deployment.policies.policy import BINDING, POLICY, documents
from views.doctor.diagnosis import Diagnosis, listed, ok, problem, skipped, warning

_REMEDY: Final = (
    "apply those of this release (bobrapet unpack manifests)",
    "kubectl apply --server-side -k manifests/default",
)


def diagnoses_of(
    present: Mapping[str, Object], bindings: Iterable[Object], wanted: Mapping[str, Object]
) -> list[Diagnosis]:
    """
    Args:
        present, wanted: policies by name.
    """
    enforced = {
        each["spec"].get("policyName") for each in bindings if "Deny" in (each["spec"].get("validationActions") or ())
    }
    missing = [name for name in wanted if name not in present]
    unbound = [name for name in wanted if name in present and name not in enforced]
    changed = [name for name, policy in wanted.items() if name in present and _checks(present[name]) != _checks(policy)]
    broken = [
        f"{name}: {each.get('warning')}"
        for name in wanted
        for each in (((present.get(name) or {}).get("status") or {}).get("typeChecking") or {}).get(
            "expressionWarnings"
        )
        or ()
    ]
    found = []
    if missing:
        found.append(
            problem(f"policies are missing, so rules are open while admission is down: {listed(missing)}", *_REMEDY)
        )
    if unbound:
        found.append(problem(f"policies are not bound with Deny, so they refuse nothing: {listed(unbound)}", *_REMEDY))
    if changed:
        found.append(warning(f"policies have other rules than this release: {listed(changed)}", *_REMEDY))
    if broken:
        found.append(warning(f"the API server has doubts about policies: {listed(broken, 3)}", *_REMEDY))
    return found or [ok(f"all {len(wanted)} policies are present and bound")]


async def examine(context: DoctorContext) -> list[Diagnosis]:
    if context.is_embedded:
        return [skipped("the policies of this release are built into an embedded cluster")]
    wanted = [documents(each, context.installation)[0] for each in policies(context.installation)]
    present = (await context.client.list(POLICY)).items
    bindings = (await context.client.list(BINDING)).items
    return diagnoses_of(
        {each["metadata"]["name"]: each for each in present},
        bindings,
        {each["metadata"]["name"]: each for each in wanted},
    )


def _checks(policy: Object) -> list[str]:
    return [each["expression"] for each in policy["spec"].get("validations") or ()]
