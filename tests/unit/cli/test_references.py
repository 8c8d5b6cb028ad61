from __future__ import annotations

from typing import Any

from cli.manifests import Manifest
from cli.references import references_of


def manifest(kind: str, spec: dict[str, Any], **metadata: str) -> Manifest:
    return Manifest({"kind": kind, "metadata": {"name": "x", **metadata}, "spec": spec}, "f.yaml", 1, {})


def found(kind: str, spec: dict[str, Any], **metadata: str) -> list[str]:
    return [
        f"{each.path} {each.resource.kind} {each.namespace}/{each.name}"
        for each in references_of(manifest(kind, spec, **metadata), "default")
    ]


def test_every_list_of_a_story_and_its_parallel_branches_are_searched() -> None:
    branches = [{"name": "c", "ref": {"name": "e2", "namespace": "n"}}]
    spec = {
        "steps": [
            {"name": "a", "ref": {"name": "e1"}},
            {
                "name": "b",
                "type": "parallel",
                "with": {"steps": branches},
            },
            {"name": "d", "type": "executeStory", "with": {"storyRef": {"name": "other"}}},
            {"name": "s", "type": "sleep", "with": {"duration": "1s"}},
        ],
        "compensations": [{"name": "u", "ref": {"name": "e3"}}],
        "finally": [{"name": "f", "ref": {"name": "e4"}}],
    }

    assert found("Story", spec, namespace="own") == [
        "spec.steps[0].ref.name Engram own/e1",
        "spec.steps[1].with.steps[0].ref.name Engram n/e2",
        "spec.steps[2].with.storyRef.name Story own/other",
        "spec.compensations[0].ref.name Engram own/e3",
        "spec.finally[0].ref.name Engram own/e4",
    ]


def test_templates_belong_to_the_cluster() -> None:
    assert found("Engram", {"templateRef": {"name": "t"}}) == ["spec.templateRef.name EngramTemplate /t"]
    assert found("Impulse", {"templateRef": {"name": "t"}, "storyRef": {"name": "s"}}) == [
        "spec.templateRef.name ImpulseTemplate /t",
        "spec.storyRef.name Story default/s",
    ]


def test_names_that_are_known_only_at_run_time_are_left_alone() -> None:
    step = {"name": "d", "type": "executeStory", "with": {"storyRef": {"name": "{{ inputs.which }}"}}}

    assert found("Story", {"steps": [step]}) == []
