from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli.applying import apply_manifests, refuse_other_namespaces
from cli.embedded.folder import EmbeddedCluster
from cli.manifests import Manifest, load_manifests
from cli.problem import RejectedManifestError
from cli.references import refuse_missing
from cli.session import Session
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, ENGRAM, ENGRAM_TEMPLATE, STORY
from core.kube.errors import NotFoundError

CONFIG: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "paint"}, "data": {"color": "green"}}
ENGRAM_OBJECT: Object = {
    "apiVersion": "bubustack.io/v1alpha1",
    "kind": "Engram",
    "metadata": {"name": "worker"},
    "spec": {"templateRef": {"name": "shell"}},
}


def manifest(document: Object, **lines: int) -> Manifest:
    return Manifest(document, "f.yaml", 1, lines)


async def test_objects_are_stored_in_the_namespace_of_the_session(session: Session) -> None:
    stored = await apply_manifests(session, [manifest(CONFIG), manifest(ENGRAM_OBJECT)])

    assert [each["metadata"]["namespace"] for each in stored] == ["default", "default"]
    assert (await session.client.get(ENGRAM, "worker", "default"))["spec"]["templateRef"] == {"name": "shell"}


def inside(namespace: str) -> Object:
    return {**CONFIG, "metadata": {"name": "paint", "namespace": namespace}}


async def test_objects_keep_their_own_namespaces_and_the_files_may_create_them(session: Session) -> None:
    namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}

    await apply_manifests(session, [manifest(namespace), manifest(inside("other")), manifest(CONFIG)])

    for each in ("other", "default"):
        assert (await session.client.get(CONFIG_MAP, "paint", each))["data"] == {"color": "green"}


async def test_a_namespace_that_nobody_creates_keeps_all_from_being_stored(session: Session) -> None:
    lost = manifest(inside("nowhere"), **{"metadata.namespace": 4})

    with pytest.raises(RejectedManifestError, match=r"f\.yaml:4: ConfigMap 'paint' in namespace nowhere: .*not found"):
        await apply_manifests(session, [manifest(CONFIG), lost])

    with pytest.raises(NotFoundError):
        await session.client.get(CONFIG_MAP, "paint", "default")


def test_every_object_in_another_namespace_than_the_chosen_one_is_named() -> None:
    objects = [manifest(inside("a"), **{"metadata.namespace": 4}), manifest(inside("b")), manifest(CONFIG)]

    refuse_other_namespaces(objects, "")
    with pytest.raises(RejectedManifestError) as found:
        refuse_other_namespaces(objects, "a")
    assert str(found.value) == (
        "f.yaml:1: metadata.namespace: ConfigMap 'paint' is in namespace b, and --namespace is a "
        "(leave out --namespace, or change one of them)"
    )


async def test_one_refused_document_keeps_all_from_being_stored(session: Session) -> None:
    bad = {**ENGRAM_OBJECT, "metadata": {"name": "bad"}, "spec": {"templateRef": {"name": 7}}}

    with pytest.raises(RejectedManifestError, match=r"f\.yaml:5: spec\.templateRef\.name: "):
        await apply_manifests(session, [manifest(CONFIG), manifest(bad, **{"spec.templateRef.name": 5})])

    with pytest.raises(NotFoundError):
        await session.client.get(CONFIG_MAP, "paint", "default")


async def test_a_dry_run_stores_nothing(session: Session) -> None:
    await apply_manifests(session, [manifest(CONFIG)], dry_run=True)

    with pytest.raises(NotFoundError):
        await session.client.get(CONFIG_MAP, "paint", "default")


async def test_a_kind_the_cluster_does_not_serve_is_named(session: Session) -> None:
    unknown: Object = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "x"}}

    with pytest.raises(RejectedManifestError, match=r"f\.yaml:2: the cluster does not serve kind 'Gadget'"):
        await apply_manifests(session, [manifest(unknown, kind=2)])


async def test_references_may_lead_into_the_files_or_the_cluster(session: Session, tmp_path: object) -> None:
    story = {
        "apiVersion": STORY.api_version,
        "kind": "Story",
        "metadata": {"name": "s"},
        "spec": {"steps": [{"name": "a", "ref": {"name": "worker"}}, {"name": "b", "ref": {"name": "wroker"}}]},
    }
    with pytest.raises(RejectedManifestError) as missing:
        await refuse_missing(session, [manifest(story), manifest(ENGRAM_OBJECT)])
    problems = str(missing.value).splitlines()
    await apply_manifests(session, [manifest(ENGRAM_OBJECT)])
    with pytest.raises(RejectedManifestError) as fewer:
        await refuse_missing(session, [manifest(story)])

    assert len(problems) == 2
    assert "spec.steps[1].ref.name: Engram 'wroker' is neither in the files nor in namespace default" in problems[0]
    assert "did you mean 'worker'?" in problems[0]
    assert "EngramTemplate 'shell' is neither in the files nor in the cluster" in problems[1]
    assert str(fewer.value).count("\n") == 0


def test_the_files_of_the_example_refer_to_nothing_outside() -> None:
    manifests = load_manifests(["examples/weather/manifests.yaml"])

    assert {each.kind for each in manifests} == {"EngramTemplate", "Engram", "Story"}


@pytest.mark.parametrize("is_embedded", [False, True])
async def test_a_story_in_v1beta1_is_sent_in_the_version_that_every_server_serves(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_embedded: bool
) -> None:
    """Nothing needs to be said about that on the embedded cluster, which serves both versions."""
    file = tmp_path / "s.yaml"
    file.write_text(
        "{apiVersion: bubustack.io/v1beta1, kind: Story, metadata: {name: s}, spec: {steps: [{name: a, gate: {}}]}}"
    )
    embedded = EmbeddedCluster(tmp_path, "", tmp_path, 0, "") if is_embedded else None

    stored = await apply_manifests(replace(session, embedded=embedded), load_manifests([str(file)]))

    assert stored[0]["spec"]["steps"][0]["type"] == "gate"
    assert ("is sent as bubustack.io/v1alpha1" in capsys.readouterr().err) is not is_embedded


async def test_a_dry_run_may_miss_objects_of_the_same_files(guarded_session: Session) -> None:
    """With admission, an Engram is refused while its template does not exist; the files have it."""
    spec = {"version": "1.0.0", "supportedModes": ["job"], "image": "shell"}
    template: Object = {**ENGRAM_OBJECT, "apiVersion": ENGRAM_TEMPLATE.api_version, "kind": "EngramTemplate"}
    template |= {"metadata": {"name": "shell"}, "spec": spec}
    lost = {**ENGRAM_OBJECT, "metadata": {"name": "lost"}, "spec": {"templateRef": {"name": "absent"}}}

    stored = await apply_manifests(guarded_session, [manifest(template), manifest(ENGRAM_OBJECT)])
    with pytest.raises(RejectedManifestError, match="does not exist"):
        await apply_manifests(guarded_session, [manifest(template), manifest(lost)])

    assert [each["kind"] for each in stored] == ["EngramTemplate", "Engram"]
