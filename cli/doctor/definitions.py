"""Whether the CustomResourceDefinitions of this release are installed, served and unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cli.doctor.context import DoctorContext
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from deployment.crds import packaged_crds
from views.doctor.diagnosis import Diagnosis, listed, ok, problem, warning

_REMEDY: Final = "install those of this release (bobrapet unpack manifests)"
_WITHOUT_CONVERSION: Final = "kubectl apply --server-side -f manifests/crds"
_WITH_CONVERSION: Final = "kubectl apply --server-side -k manifests/conversion"


def diagnoses_of(present: Mapping[str, Object], wanted: Sequence[Object]) -> list[Diagnosis]:
    """
    Args:
        present: by name.
        wanted: those of this release, with all versions.
    """
    missing = [crd["metadata"]["name"] for crd in wanted if crd["metadata"]["name"] not in present]
    found = []
    converts = any((each["spec"].get("conversion") or {}).get("strategy") == "Webhook" for each in present.values())
    remedy = (_REMEDY, _WITH_CONVERSION if converts else _WITHOUT_CONVERSION)
    if missing:
        found.append(problem(f"the cluster does not have {listed(missing, 12)}", *remedy))
    for crd in wanted:
        there = present.get(crd["metadata"]["name"])
        if there is not None:
            found += _compared(there, crd, remedy)
    return found or [ok(f"all {len(wanted)} definitions are served, with the schemas of this release")]


async def examine(context: DoctorContext) -> list[Diagnosis]:
    items = (await context.client.list(CUSTOM_RESOURCE_DEFINITION)).items
    return diagnoses_of({each["metadata"]["name"]: each for each in items}, packaged_crds(converted=True))


def _compared(there: Object, wanted: Object, remedy: tuple[str, str]) -> list[Diagnosis]:
    name, status = wanted["metadata"]["name"], there.get("status") or {}
    if there["metadata"].get("deletionTimestamp"):
        return [
            problem(
                f"{name} is being deleted, with all its objects",
                "wait for its end, and install it again; objects with finalizers need a running operator",
            )
        ]
    established = find_condition(status.get("conditions") or (), "Established") or {}
    if established.get("status") != "True":
        why = established.get("message") or "no reason is given"
        return [problem(f"{name} is not served: {why}", "look at it", f"kubectl describe crd {name}")]
    served = {each["name"]: each for each in there["spec"]["versions"] if each.get("served")}
    stored = next(each["name"] for each in wanted["spec"]["versions"] if each["storage"])
    found = []
    if stored not in served:
        found.append(problem(f"{name} does not serve version {stored}", *remedy))
    others = set(status.get("storedVersions") or ()) - {each["name"] for each in wanted["spec"]["versions"]}
    if others:
        found.append(
            warning(
                f"{name} may have objects stored as {listed(sorted(others))}, which this release does not know",
                "migrate them before the version is removed (StorageVersionMigration)",
            )
        )
    differing = [
        version["name"]
        for version in wanted["spec"]["versions"]
        if version["name"] in served and not _is_same(served[version["name"]], version)
    ]
    if differing:
        text = f"{name} has another schema than this release, in version {listed(differing)}"
        found.append(warning(f"{text}: fields may be refused or lost", *remedy))
    return found


def _is_same(there: Object, wanted: Object) -> bool:
    """Whether a version has the schema, subresources and selectable fields of this release."""
    return all(_plain(there.get(field)) == _plain(wanted.get(field)) for field in _COMPARED)


_COMPARED: Final = ("schema", "subresources", "selectableFields")


def _plain(value: object) -> object:
    """Without what a server adds or leaves out: empty maps and lists."""
    if isinstance(value, dict):
        return {key: plain for key, each in value.items() if (plain := _plain(each)) not in ({}, [], None)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
