"""Files are read completely, each document has its line, and all problems are reported together."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.exit_code import ExitCode
from cli.manifests import load_manifests
from cli.problem import CommandError, RejectedManifestError

STORY = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata:
  name: hello
spec:
  steps:
    - name: greet
      ref: {name: hello}
"""


def refusal(path: Path) -> list[str]:
    with pytest.raises(RejectedManifestError) as caught:
        load_manifests([str(path)])
    assert caught.value.code is ExitCode.REJECTED
    return str(caught.value).replace(str(path), path.name).splitlines()


def test_documents_come_in_the_order_in_which_they_must_be_applied(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    template = (
        "apiVersion: catalog.bubustack.io/v1alpha1\nkind: EngramTemplate\nmetadata: {name: t}\n"
        "spec: {image: i, version: v, supportedModes: [job]}\n"
    )
    file.write_text(f"{STORY}---\n{template}")

    assert [manifest.kind for manifest in load_manifests([str(file)])] == ["EngramTemplate", "Story"]


def test_a_folder_means_its_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(STORY)
    (tmp_path / "notes.txt").write_text("not a manifest")

    assert [manifest.name for manifest in load_manifests([str(tmp_path)])] == ["hello"]


def test_json_is_accepted_like_yaml(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}')

    assert load_manifests([str(file)])[0].document["data"] == {"k": "v"}


def test_instants_stay_the_text_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {at: 2026-01-01T00:00:00Z}\n")

    assert load_manifests([str(file)])[0].document["data"] == {"at": "2026-01-01T00:00:00Z"}


def test_an_unknown_field_is_named_with_line_and_remedy(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(STORY.replace("ref: {name: hello}", "ref: {name: hello}\n      need: [x]"))

    (line,) = refusal(file)

    assert line.startswith("a.yaml:9: spec.steps[0].need: unknown field")
    assert "needs" in line


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(STORY.replace("kind: Story", "kind: Storry"))
    (tmp_path / "b.yaml").write_text("apiVersion: bubustack.io/v1alpha1\nkind: Story\nmetadata: {}\nspec: {steps: 3}\n")

    with pytest.raises(RejectedManifestError) as caught:
        load_manifests([str(tmp_path)])

    text = str(caught.value)
    assert "a.yaml:2" in text
    assert "did you mean Story" in text
    assert "b.yaml:4: spec.steps" in text
    assert "metadata.name: is required" in text


def test_broken_yaml_is_located(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("kind: Story\n  bad: indent\n")

    (line,) = refusal(file)

    assert line.startswith("a.yaml:2:")


def test_the_same_object_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{STORY}---\n{STORY}")

    (line,) = refusal(file)

    assert "is already declared at a.yaml:4" in line


def test_a_missing_file_and_an_empty_one_are_errors(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("---\n")

    with pytest.raises(CommandError, match="does not exist"):
        load_manifests([str(tmp_path / "nowhere.yaml")])
    with pytest.raises(CommandError, match="no manifest"):
        load_manifests([str(empty)])


def test_documents_are_held_against_each_other_and_not_against_a_broken_one(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    head = "apiVersion: bubustack.io/v1alpha1\nkind: Story\nmetadata: {{name: {}}}\nspec: "
    call = head + "{{steps: [{{name: x, type: executeStory, with: {{storyRef: {{name: {}}}}}}}]}}\n"
    broken = head.format("c") + "{steps: 3}\n"
    file.write_text("---\n".join([call.format("a", "b"), call.format("b", "a"), broken, call.format("d", "c")]))

    circle = "spec.steps[0].with.storyRef: Stories execute each other in a cycle"
    assert refusal(file) == [
        f"all.yaml:4: {circle}: a → b → a (remove one of these calls)",
        f"all.yaml:9: {circle}: b → a → b (remove one of these calls)",
        "all.yaml:14: spec.steps: must be a list (write one item per line, each after a dash)",
    ]


TYPED = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata:
  name: hello
spec:
  steps:
    - name: both
      parallel:
        steps:
          - name: nap
            sleep: {duration: 5m}
"""


def test_a_v1beta1_story_is_used_as_it_is_stored(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(TYPED)
    (manifest,) = load_manifests([str(file)])
    assert manifest.document["apiVersion"] == "bubustack.io/v1alpha1"
    branch = {"name": "nap", "type": "sleep", "with": {"duration": "5m"}}
    assert manifest.document["spec"]["steps"] == [{"name": "both", "type": "parallel", "with": {"steps": [branch]}}]
    assert manifest.at("spec.steps[0].with.steps[0].with.duration") == f"{file}:11"


def test_problems_of_a_v1beta1_story_are_told_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TYPED.replace("5m", "five"))
    (tmp_path / "b.yaml").write_text(TYPED.replace("sleep:", "slip:").replace("hello", "b"))
    (tmp_path / "c.yaml").write_text(TYPED.replace("sleep: {duration: 5m}", "needs: [x]").replace("hello", "c"))
    with pytest.raises(RejectedManifestError) as caught:
        load_manifests([str(tmp_path)])
    lines = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    duration, misspelt, nothing = lines
    assert duration.startswith("a.yaml:11: spec.steps[0].parallel.steps[0].sleep.duration: 'five' is not a duration")
    assert misspelt.startswith("b.yaml:11: spec.steps[0].parallel.steps[0].slip: unknown field")
    assert nothing.startswith("c.yaml:10: spec.steps[0].parallel.steps[0]: has none of ref, run, condition")


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("data: {a: on}", "data.a: on is the boolean true for Kubernetes"),
        ("data: {n: x}", "data.false: the key n is the boolean false for Kubernetes"),
        ("data:\n  b: [No]", "data.b[0]: No is the boolean false"),
        ('data: {a: "on", b: once, c: "say no"}', ""),
    ],
)
def test_words_that_only_kubernetes_reads_as_booleans_are_named(tmp_path: Path, line: str, warned: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\n{line}\n")

    (manifest,) = load_manifests([str(file)])

    assert len(manifest.warnings) == (1 if warned else 0)
    assert all(f"m.yaml:{4 + line.count(chr(10))}: {warned}" in found for found in manifest.warnings)
