"""The table of built-in kinds: complete, unambiguous, and with the spelling of Kubernetes."""

from __future__ import annotations

from collections import Counter

from localcluster.server.builtin import BUILTIN


def test_every_kind_stands_once_per_group_version_and_plural() -> None:
    counted = Counter((rtype.group, rtype.version, rtype.plural) for rtype in BUILTIN)
    assert [key for key, count in counted.items() if count > 1] == []


def test_short_names_name_one_kind_within_a_group() -> None:
    counted = Counter((rtype.group, short) for rtype in BUILTIN for short in rtype.short_names)
    assert [key for key, count in counted.items() if count > 1] == []


def test_review_kinds_can_only_be_created() -> None:
    reviews = [rtype for rtype in BUILTIN if rtype.kind.endswith(("Review", "Reviews"))]
    assert len(reviews) == 5
    assert {rtype.verbs for rtype in reviews} == {("create",)}


def test_namespaces_cannot_be_deleted_as_a_collection() -> None:
    namespaces = next(rtype for rtype in BUILTIN if rtype.plural == "namespaces")
    assert "deletecollection" not in namespaces.verbs
    assert not namespaces.namespaced


def test_each_face_of_events_selects_by_its_own_field_names() -> None:
    events = {rtype.group: rtype.selectable_fields for rtype in BUILTIN if rtype.plural == "events"}
    assert ".involvedObject.name" in events[""]
    assert ".regarding.name" in events["events.k8s.io"]
