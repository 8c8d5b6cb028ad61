"""Random histories of two kinds, compared with a small model: versions, conflicts, finalizers, lists, pages, watches.

The model is the specification: what every request answers, and that a watch reports exactly what was written.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx
import hypothesis.strategies as st
import orjson
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from core.api.objects import Object
from tests.conformance.conformance_api import APPLY_PATCH, MERGE_PATCH, ServerUnderTest
from tests.conformance.conformance_kinds import FINALIZER, GROUP, config_map, widget

EXAMPLES = 30
STEPS = 25
SELECTED = {"labelSelector": "machine=yes"}
"""Leaves out what controllers put into a new namespace."""

_namespaces = itertools.count(1)

PLURALS = st.sampled_from(["configmaps", "widgets"])
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.integers(1, 3)


@dataclass
class Known:
    """What the model knows about one object."""

    version: int
    value: int
    finalized: bool
    uid: str
    dying: bool = False
    past: list[int] = field(default_factory=list)
    """Earlier versions of the object."""


Shown = list[tuple[str, int]]
"""Names and versions, in the order of a list."""


@dataclass
class Kind:
    """One kind: its objects, all writes to them, and lists that were taken in between."""

    objects: dict[str, Known] = field(default_factory=dict)
    history: list[tuple[str, str, int | None]] = field(default_factory=list)
    """Event type, name, and the version if the answer had it."""
    snapshots: list[tuple[int, Shown, int]] = field(default_factory=list)
    """Version of the list, its content, and the length of the history at that time."""

    def shown(self) -> Shown:
        return [(name, known.version) for name, known in sorted(self.objects.items())]


class Histories(RuleBasedStateMachine):
    """One namespace of the server under test, and its model."""

    http: httpx.Client
    applies: bool
    """Whether the server supports apply."""

    def __init__(self) -> None:
        super().__init__()
        self.namespace = f"history-{next(_namespaces)}"
        self.kinds = {"configmaps": Kind(), "widgets": Kind()}
        self.last = 0
        answer = self.http.post("/api/v1/namespaces", json={"metadata": {"name": self.namespace}})
        assert answer.status_code == 201
        for plural in self.kinds:
            self.take_a_list(plural)

    def teardown(self) -> None:
        for plural, kind in self.kinds.items():
            self.follow(plural, kind, 0)

    # --- writes ----------------------------------------------------------------------------------------------------

    @rule(plural=PLURALS, name=NAMES, value=VALUES, finalized=st.booleans())
    def create(self, plural: str, name: str, value: int, finalized: bool) -> None:
        answer = self.http.post(self.path(plural), json=self.body(plural, name, value, finalized=finalized))
        if name in self.kinds[plural].objects:
            assert (answer.status_code, answer.json()["reason"]) == (409, "AlreadyExists")
            return
        assert answer.status_code == 201
        self.kinds[plural].objects[name] = known = Known(0, value, finalized, answer.json()["metadata"]["uid"])
        self.wrote(plural, "ADDED", name, known, answer.json())

    @rule(plural=PLURALS, name=NAMES, value=VALUES, stale=st.booleans())
    def update(self, plural: str, name: str, value: int, stale: bool) -> None:
        known = self.kinds[plural].objects.get(name)
        body = self.body(plural, name, value, finalized=known is not None and known.finalized)
        if known is None:
            body["metadata"]["resourceVersion"] = "1"
            assert self.http.put(self.path(plural, name), json=body).status_code == 404
            return
        outdated = stale and bool(known.past)
        body["metadata"]["resourceVersion"] = str(known.past[-1] if outdated else known.version)
        answer = self.http.put(self.path(plural, name), json=body)
        if outdated:
            assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
            return
        self.changed(plural, name, known, value, answer)

    @rule(plural=PLURALS, name=NAMES, value=VALUES, media=st.sampled_from([MERGE_PATCH, APPLY_PATCH]))
    def patch(self, plural: str, name: str, value: int, media: str) -> None:
        known = self.kinds[plural].objects.get(name)
        media = media if self.applies else MERGE_PATCH
        if media == APPLY_PATCH and known is None:
            return  # that would be a creation, which has a rule of its own
        part = {"data": {"value": str(value)}} if plural == "configmaps" else {"spec": {"size": value}}
        query: dict[str, str] = {}
        if media == APPLY_PATCH:
            whole = self.body(plural, name, value, finalized=False)
            part = {"apiVersion": whole["apiVersion"], "kind": whole["kind"], "metadata": {"name": name}, **part}
            query = {"fieldManager": "machine", "force": "true"}
            before = self.http.get(self.path(plural, name)).json()
        answer = self.http.patch(
            self.path(plural, name), content=orjson.dumps(part), headers={"content-type": media}, params=query
        )
        if known is None:
            assert answer.status_code == 404
            return
        if media == APPLY_PATCH and known.value == value:
            owners = answer.json()["metadata"]["managedFields"] != before["metadata"]["managedFields"]
            self.noted(plural, name, known, answer, is_write=owners)
            return
        self.changed(plural, name, known, value, answer)

    @rule(plural=PLURALS, name=NAMES, condition=st.sampled_from(["none", "right", "wrong"]))
    def delete(self, plural: str, name: str, condition: str) -> None:
        known = self.kinds[plural].objects.get(name)
        options: Object = {}
        if condition == "wrong":
            options = {"preconditions": {"uid": "another"}}
        elif condition == "right" and known is not None:
            options = {"preconditions": {"uid": known.uid, "resourceVersion": str(known.version)}}
        answer = self.http.request("DELETE", self.path(plural, name), json=options)
        if known is None:
            assert answer.status_code == 404
        elif condition == "wrong":
            assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        elif not known.finalized:
            assert answer.status_code == 200
            self.gone(plural, name)
        else:
            assert answer.status_code == 200
            assert answer.json()["metadata"]["deletionTimestamp"]
            if not known.dying:
                known.dying = True
                self.wrote(plural, "MODIFIED", name, known, answer.json())

    @rule(plural=PLURALS, name=NAMES)
    def release(self, plural: str, name: str) -> None:
        """Remove the finalizer."""
        known = self.kinds[plural].objects.get(name)
        body = b'{"metadata":{"finalizers":null}}'
        answer = self.http.patch(self.path(plural, name), content=body, headers={"content-type": MERGE_PATCH})
        if known is None:
            assert answer.status_code == 404
        elif known.dying:
            assert answer.status_code == 200
            self.gone(plural, name)
        else:
            self.noted(plural, name, known, answer, is_write=known.finalized)
            known.finalized = False

    # --- reads -----------------------------------------------------------------------------------------------------

    @rule(plural=PLURALS, name=NAMES)
    def read(self, plural: str, name: str) -> None:
        known = self.kinds[plural].objects.get(name)
        answer = self.http.get(self.path(plural, name))
        assert answer.status_code == (404 if known is None else 200)
        if known is not None:
            assert int(answer.json()["metadata"]["resourceVersion"]) == known.version
            assert ("deletionTimestamp" in answer.json()["metadata"]) == known.dying

    @rule(plural=PLURALS)
    def take_a_list(self, plural: str) -> None:
        version, shown = self.listed(plural)
        kind = self.kinds[plural]
        assert shown == kind.shown()
        assert version >= self.last
        kind.snapshots.append((version, shown, len(kind.history)))

    @rule(plural=PLURALS, data=st.data())
    def list_the_past(self, plural: str, data: st.DataObject) -> None:
        version, shown, _ = data.draw(st.sampled_from(self.kinds[plural].snapshots))
        exact = {"resourceVersion": str(version), "resourceVersionMatch": "Exact"}
        assert self.listed(plural, **exact) == (version, shown)

    @rule(plural=PLURALS, limit=st.integers(1, 2))
    def turn_pages(self, plural: str, limit: int) -> None:
        shown: Shown = []
        token = ""
        versions: set[int] = set()
        while True:
            query: dict[str, Any] = {"limit": limit, **({"continue": token} if token else {})}
            answer = self.http.get(self.path(plural), params={**SELECTED, **query}).json()
            versions.add(int(answer["metadata"]["resourceVersion"]))
            shown += _shown(answer)
            token = answer["metadata"].get("continue", "")
            if not token:
                break
        assert shown == self.kinds[plural].shown()
        assert len(versions) == 1, "all pages show one state"

    @precondition(lambda self: any(len(kind.snapshots) > 1 for kind in self.kinds.values()))
    @rule(plural=PLURALS, data=st.data())
    def watch_from_the_past(self, plural: str, data: st.DataObject) -> None:
        kind = self.kinds[plural]
        self.follow(plural, kind, data.draw(st.integers(0, len(kind.snapshots) - 1)))

    # --- the model -------------------------------------------------------------------------------------------------

    def follow(self, plural: str, kind: Kind, snapshot: int) -> None:
        """A watch from that list reports exactly the history since then."""
        version, _, length = kind.snapshots[snapshot]
        expected = kind.history[length:]
        if not expected:
            return
        query = {**SELECTED, "watch": "true", "resourceVersion": str(version), "timeoutSeconds": "10"}
        told: list[tuple[str, str, int]] = []
        with self.http.stream("GET", self.path(plural), params=query) as answer:
            for line in answer.iter_lines():
                event = orjson.loads(line)
                metadata = event["object"]["metadata"]
                told.append((event["type"], metadata["name"], int(metadata["resourceVersion"])))
                if len(told) == len(expected):
                    break
        assert [found[:2] for found in told] == [found[:2] for found in expected]
        for (*_, seen), (*_, written) in zip(told, expected, strict=True):
            assert written is None or seen == written
        versions = [version, *(seen for *_, seen in told)]
        assert versions == sorted(set(versions)), "versions rise"

    def changed(self, plural: str, name: str, known: Known, value: int, answer: httpx.Response) -> None:
        """An update or a patch sets the value. It is a write if the value differs."""
        is_write = value != known.value
        known.value = value
        self.noted(plural, name, known, answer, is_write=is_write)

    def noted(self, plural: str, name: str, known: Known, answer: httpx.Response, *, is_write: bool) -> None:
        assert answer.status_code == 200, answer.text
        if is_write:
            self.wrote(plural, "MODIFIED", name, known, answer.json())
        else:
            assert int(answer.json()["metadata"]["resourceVersion"]) == known.version, (
                "nothing changed, nothing written"
            )

    def wrote(self, plural: str, event: str, name: str, known: Known, obj: Object) -> None:
        version = int(obj["metadata"]["resourceVersion"])
        assert version > self.last, "every write is later than all before"
        if known.version:
            known.past.append(known.version)
        self.last = known.version = version
        self.kinds[plural].history.append((event, name, version))

    def gone(self, plural: str, name: str) -> None:
        del self.kinds[plural].objects[name]
        self.kinds[plural].history.append(("DELETED", name, None))

    def listed(self, plural: str, **query: str) -> tuple[int, Shown]:
        answer = self.http.get(self.path(plural), params={**SELECTED, **query})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["metadata"]["resourceVersion"]), _shown(answer.json())

    def path(self, plural: str, name: str = "") -> str:
        api = "/api/v1" if plural == "configmaps" else f"/apis/{GROUP}/v1"
        return f"{api}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    @staticmethod
    def body(plural: str, name: str, value: int, *, finalized: bool) -> Object:
        metadata: Object = {"labels": {"machine": "yes"}, **({"finalizers": [FINALIZER]} if finalized else {})}
        if plural == "configmaps":
            return config_map(name, {"value": str(value)}, **metadata)
        return widget(name, {"size": value}, **metadata)


def _shown(listed: Object) -> Shown:
    return [(item["metadata"]["name"], int(item["metadata"]["resourceVersion"])) for item in listed["items"]]


def test_random_histories_are_told_as_they_were_written(server: ServerUnderTest) -> None:
    bounded = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    with server.blocking_client() as http:
        members = {"http": http, "applies": not server.refuses("apply")}
        run_state_machine_as_test(type("OnThisServer", (Histories,), members), settings=bounded)
