"""Every rule of admission, tested on an API server that calls the operator's admission server.

The tests send requests. On the real server kubectl sends some cases, as for a user, and its words are checked: one case
of each kind, and one of each way to write a refusal and a warning. It shows whatever the server says, and a call takes
a hundred times as long as a request.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import trio

from core.api import manifest
from core.api.objects import Object
from core.api.resource import ENGRAM, SECRET
from core.kube.errors import InvalidError
from tests.integration.admission_stand import AS_BUILDER, AdmissionStand, open_admission, resource_of
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl
from tests.unit.webhooks.validate.rule_table import Case, cases
from tools.control_plane.session import SessionCluster
from webhooks.caller import POD_NAME, POD_UID, Caller
from webhooks.finding import Severity
from webhooks.validate.catalogue import RULES

pytestmark = [pytest.mark.kubectl, needs_kubectl]


SEVERITIES: Final = {rule.id: rule.severity for rule in RULES}
AT_ONCE: Final = 3
BY_SCHEMA: Final = {"story/ref-or-type": "spec: "}
"""Rules that the schema of the kind has, too, and where the schema's message says so."""
NOT_ASKED: Final = {
    "status/generation": "the operator's own writes of a status are not brought before the gate",
    "status/gate-time": "the gate itself says when a decision was made",
    "any/too-many": "kubectl shows at most what fits into a header of warnings",
    "story/total-size": "API servers themselves refuse annotations of that size",
    "step-run/total-size": "API servers themselves refuse annotations of that size",
    "definition/secret-missing": "the gate reads no Secrets",
    "engram/deleted": "nobody can write that an object is being deleted: see the test below",
}
"""Rules that no request can show here, and the reason."""


@dataclass(frozen=True)
class Answer:
    """``text`` contains every word: refusal, causes, warnings."""

    accepted: bool
    text: str


@pytest.fixture
async def gate(tmp_path: Path, real: SessionCluster | None) -> AsyncIterator[AdmissionStand]:
    async with open_admission(tmp_path, real, str(KUBECTL)) as stand:
        yield stand


async def test_every_rule_admits_what_keeps_to_it_and_names_the_place_in_what_breaks_it(
    gate: AdmissionStand, real: SessionCluster | None
) -> None:
    """All cases on a real API server; on the embedded one a few of each rule: the rules themselves have unit tests."""
    chosen = cases() if real is not None else _few_of_each_rule(cases())
    by_kubectl = samples(chosen) if real is not None else []
    asked: list[str] = []
    wrong: list[str] = []
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def try_out(case: Case, uids: dict[str, str]) -> None:
        ask = ask_with_kubectl if any(case is sample for sample in by_kubectl) else ask_with_requests
        async with limiter:
            wrong.extend([f"{case.rule} {case.path}: {text}" async for text in _mistakes(gate, ask, case, uids)])
            asked.append(case.rule)

    for group in _alike(chosen):
        first = group[0]
        gate.settings = first.world.settings
        built = [_without_status(obj) for obj in first.objects if not manifest.errors_of(_without_status(obj))]
        await gate.build(built)
        uids = await _uids(gate, built)
        stored = [case for case in group if case.old is not None]
        async with trio.open_nursery() as nursery:
            for case in group:
                if case.old is None:
                    nursery.start_soon(try_out, case, uids)
        for case in stored:  # they share names
            await try_out(case, uids)
        await gate.remove(built)
    assert wrong == [], "\n\n".join(wrong)
    assert {rule.id for rule in RULES} - set(asked) == set(NOT_ASKED)


async def test_an_engram_that_is_being_deleted_may_lose_its_finalizers_only(gate: AdmissionStand) -> None:
    template = {"version": "1", "image": "x", "supportedModes": ["job"]}
    held = {"name": "held", "namespace": gate.namespace, "finalizers": ["tests.bubustack.io/hold"]}
    await gate.build(
        [
            _versioned({"kind": "EngramTemplate", "metadata": {"name": "held"}, "spec": template}),
            _versioned({"kind": "Engram", "metadata": held, "spec": {"templateRef": {"name": "held"}}}),
        ]
    )
    await gate.client.delete(ENGRAM, "held", gate.namespace)
    with pytest.raises(InvalidError) as refused:
        await gate.client.patch(ENGRAM, "held", {"spec": {"version": "2"}}, namespace=gate.namespace)
    await gate.client.patch(ENGRAM, "held", {"metadata": {"finalizers": None}}, namespace=gate.namespace)

    assert [cause.field for cause in refused.value.causes] == ["spec"]


def samples(found: list[Case]) -> list[Case]:
    """One case of each kind, and one of each way of kubectl to write what is refused or warned about."""
    seen: set[object] = set()
    chosen = []
    for case in found:
        marks = {case.refused["kind"], (case.old is None, case.caller is None, SEVERITIES[case.rule])}
        if not by_requests_only(case) and case.rule not in NOT_ASKED and not marks <= seen:
            seen |= marks
            chosen.append(case)
    return chosen


def _few_of_each_rule(found: list[Case]) -> list[Case]:
    few: dict[object, Case] = {}
    for case in found:
        few.setdefault((case.rule, case.refused["kind"], case.old is None), case)
    return list(few.values())


def by_requests_only(case: Case) -> bool:
    """kubectl cannot say to which Pod a token is bound."""
    return case.author is not None or (case.caller is not None and bool(case.caller.pod))


def _alike(found: list[Case]) -> Iterator[list[Case]]:
    """Cases with equal other objects and settings, without those in which a write of a status would change a spec."""
    told = [
        case
        for case in found
        if case.rule not in NOT_ASKED and not (case.caller and case.refused["spec"] != (case.old or {})["spec"])
    ]

    def key(case: Case) -> str:
        return f"{case.policy} {case.images} {json.dumps(case.objects, default=str)}"

    for _, group in groupby(sorted(told, key=key), key):
        yield list(group)


async def _mistakes(gate: AdmissionStand, ask: Any, case: Case, uids: dict[str, str]) -> AsyncIterator[str]:
    old = _with_uids(case.old, uids) if case.old is not None else None
    if old is not None:
        await gate.build([_without_status(old)])
        await _set_status(gate, old)
    try:
        good, bad = _with_uids(case.accepted, uids), _with_uids(case.refused, uids)
        if not good["metadata"].get("deletionTimestamp"):  # no client can write this field
            answer = await ask(gate, good, old, case)
            if not answer.accepted:
                yield f"was not accepted: {answer.text}"
        answer = await ask(gate, bad, old, case)
        if answer.accepted != (SEVERITIES[case.rule] is Severity.WARNING):
            yield f"was {'' if answer.accepted else 'not '}accepted: {answer.text}"
        elif BY_SCHEMA.get(case.rule, case.path) not in answer.text:
            yield f"is not told where: {answer.text}"
    finally:
        if old is not None:
            await gate.remove([_without_status(old)])


async def ask_with_kubectl(gate: AdmissionStand, new: Object, old: Object | None, case: Case) -> Answer:
    if case.caller is None:
        verb = "create" if new["metadata"].get("generateName") else "apply"
        arguments = [verb, "--dry-run=server", "-f", "-"]
        if old is not None:
            arguments = ["replace", "--dry-run=server", "-f", "-"]
    else:
        arguments = ["replace", "--subresource=status", "--dry-run=server", f"--as={case.caller.username}", "-f", "-"]
    said = await gate.kubectl(*arguments, stdin=_versioned(new), check=False)
    return Answer("(server dry run)" in said, said)


async def ask_with_requests(gate: AdmissionStand, new: Object, old: Object | None, case: Case) -> Answer:
    resource, metadata = resource_of(new), new["metadata"]
    where = resource.path(metadata.get("namespace") if resource.namespaced else None)
    method, body = "POST", _versioned(new)
    if old is not None:
        name = metadata["name"]
        path = f"{where}/{name}"
        stored = (await gate.client.request("GET", path)).json()
        body["metadata"] = {**body["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}
        method, where = "PUT", f"{path}/status" if case.caller is not None else path
    headers = _as(case.caller or case.author)
    params = {"dryRun": "All", "fieldValidation": "Strict"}
    answer = await gate.client.request(method, where, params=params, json=body, headers=headers)
    warnings = " ".join(answer.headers.get_list("warning"))
    return Answer(answer.is_success, f"{answer.text} {warnings}".replace(r"\"", '"'))


def _as(caller: Caller | None) -> dict[str, str]:
    if caller is None:
        return {}
    extras = {POD_NAME: caller.pod, POD_UID: caller.pod_uid}
    told = {f"Impersonate-Extra-{quote(key, safe='')}": value for key, value in extras.items() if value}
    return {"Impersonate-User": caller.username, **told}


def _versioned(obj: Object) -> Object:
    return {**obj, "apiVersion": resource_of(obj).api_version} if obj["kind"] != SECRET.kind else obj


def _without_status(obj: Object) -> Object:
    return {key: value for key, value in _versioned(obj).items() if key != "status"}


async def _set_status(gate: AdmissionStand, obj: Object) -> None:
    if obj.get("status"):
        resource, metadata = resource_of(obj), obj["metadata"]
        namespace = metadata.get("namespace") if resource.namespaced else None
        path = resource.path(namespace, metadata["name"], "status")
        stored = await gate.client.get(resource, metadata["name"], namespace)
        answer = await gate.client.request("PUT", path, json={**stored, "status": obj["status"]}, headers=AS_BUILDER)
        assert answer.is_success, answer.text


async def _uids(gate: AdmissionStand, objects: list[Object]) -> dict[str, str]:
    """For each placeholder of a UID in the table, the UID that the server has given."""
    found = {}
    for obj in objects:
        if word := obj["metadata"].get("uid"):
            resource, metadata = resource_of(obj), obj["metadata"]
            stored = await gate.client.get(resource, metadata["name"], metadata.get("namespace"))
            found[word] = stored["metadata"]["uid"]
    return found


def _with_uids(obj: Object, uids: dict[str, str]) -> Object:
    text = json.dumps(obj, default=str)
    for word, uid in uids.items():
        text = text.replace(json.dumps(word), json.dumps(uid))
    result: Object = json.loads(text)
    return result
