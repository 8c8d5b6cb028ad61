from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deployment import installer, metadata
from kubewire import apply_json_patch
from tests.unit.deployment.chart_release import by_key

MANIFESTS = Path(__file__).parents[3] / "manifests"
STORIES = ("CustomResourceDefinition", "", "stories.bubustack.io")


def test_the_file_names_the_image_and_reads_back_as_the_objects(capsys: pytest.CaptureFixture[str]) -> None:
    assert installer.main(["--image", "registry.example/b:1"]) == 0

    found = by_key(YAML(typ="safe").load_all(capsys.readouterr().out))

    expected = by_key(installer.objects())
    assert list(found) == list(expected)
    deployments = [key for key in found if key[0] == "Deployment"]
    images = {
        container["image"]
        for key in deployments
        for container in found.pop(key)["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example/b:1"}
    assert found == {key: obj for key, obj in expected.items() if key not in deployments}


def test_definitions_and_namespace_come_before_what_needs_them() -> None:
    kinds = [obj["kind"] for obj in installer.objects()]

    assert kinds[:13] == ["CustomResourceDefinition"] * 12 + ["Namespace"]
    assert kinds.index("ServiceAccount") < kinds.index("Deployment")


def test_every_object_of_the_files_for_kustomize_is_there() -> None:
    """Those for cert-manager and for the Prometheus operator are not part of it."""
    others = ("cert-manager", "conversion", "observability")
    files = [path for path in MANIFESTS.glob("*/*.yaml") if path.parent.name not in others]
    found = by_key(document for path in files for document in YAML(typ="safe").load_all(path.read_text()))
    patch = YAML(typ="safe").load(MANIFESTS / "conversion" / "bubustack.io_stories.yaml")
    found[STORIES] = apply_json_patch(found[STORIES], patch)

    assert found == by_key(installer.objects())
    assert metadata.image() in str(found["Deployment", "bobrapet-system", "bobrapet-hub"])
