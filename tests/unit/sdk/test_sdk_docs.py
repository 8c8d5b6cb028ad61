"""Every code block of the guide and of the SDK's README runs. Its manifests fit our CRDs."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from bubu_sdk import commandline
from deployment.crds import packaged_crds
from tests.unit.sdk.sdk_container import ROOT

GUIDE = ROOT / "docs" / "write-your-first-engram.md"
CHARGE = ROOT / "docs" / "charge-a-card-once.md"
STREAMS = ROOT / "docs" / "streaming-engrams.md"
README = ROOT / "sdk" / "README.md"
_BLOCK = re.compile(r"(?:`(?P<file>[\w.]+)`[^`\n]*:\n\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)


def blocks(document: Path, language: str) -> list[tuple[str | None, str]]:
    """File name (if the text before the block gives one) and code."""
    return [
        (match["file"], match["code"])
        for match in _BLOCK.finditer(document.read_text())
        if match["language"] == language
    ]


def run(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT / 'sdk'}:{folder}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_python_block_of_the_guide_runs(tmp_path: Path) -> None:
    written = blocks(GUIDE, "python")
    assert len(written) == 5
    names = ["wordcount.py", "test_wordcount.py", "charge.py", "test_charge.py", "squares.py"]
    for name, (said, code) in zip(names, written, strict=True):
        assert said in (name, None)
        (tmp_path / name).write_text(code)

    run(tmp_path, "-W", "error", "squares.py")
    run(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio", "test_wordcount.py", "test_charge.py"
    )


def test_the_card_is_charged_as_the_page_says(tmp_path: Path) -> None:
    for name, (_, code) in zip(("charge.py", "test_charge.py"), blocks(CHARGE, "python"), strict=True):
        (tmp_path / name).write_text(code)

    run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio", "test_charge.py")


def test_every_python_block_about_streams_runs(tmp_path: Path) -> None:
    for name, (said, code) in zip(("shout.py", "test_shout.py", "answer.py"), blocks(STREAMS, "python"), strict=True):
        assert said == name
        (tmp_path / name).write_text(code)

    run(tmp_path, "-W", "error", "answer.py")
    run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio", "test_shout.py")


def test_the_readme_runs_from_top_to_bottom(tmp_path: Path) -> None:
    parts = [code for _, code in blocks(README, "python")]
    assert len(parts) == 5
    (tmp_path / "program.py").write_text("".join(parts).replace('__name__ == "__main__"', "False"))

    run(tmp_path, "-W", "error", "program.py")


def manifests() -> list[Any]:
    (_, text), *more = blocks(GUIDE, "yaml")
    assert more == []
    return list(YAML(typ="safe", pure=True).load_all(text))


def test_the_guide_shows_what_its_file_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wordcount.py").write_text(blocks(GUIDE, "python")[0][1])
    loaded = importlib.util.spec_from_file_location("wordcount", tmp_path / "wordcount.py")
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    sys.modules["wordcount"] = module  # where its types are looked up
    try:
        loaded.loader.exec_module(module)
        image = "registry.example.com/wordcount:1.0.0"
        assert commandline.main(module.main, ["wordcount.py", "--manifest", "--image", image]) == 0
        printed = capsys.readouterr().out
        given = '{"text": "to be or not to be", "top": 2}'
        assert commandline.main(module.main, ["wordcount.py", "--inputs", given]) == 0
        ran = capsys.readouterr()
        assert commandline.main(module.main, ["wordcount.py", "--inputs", '{"txt": "to be", "top": "many"}']) == 2
        refused = capsys.readouterr()
    finally:
        del sys.modules["wordcount"]

    page = GUIDE.read_text()
    assert printed in page
    for text in (ran.err + ran.out, refused.err):
        assert text in page


@functools.cache
def definitions() -> list[dict[str, Any]]:
    """With all versions. Cached, because reading them takes long."""
    return packaged_crds(converted=True)


@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: manifest["kind"])
def test_the_manifests_of_the_guide_fit_our_definitions(manifest: Any) -> None:
    group, _, version = manifest["apiVersion"].partition("/")
    wanted = (group, manifest["kind"])
    definition = next(
        each["spec"] for each in definitions() if (each["spec"]["group"], each["spec"]["names"]["kind"]) == wanted
    )
    schema = next(one for one in definition["versions"] if one["name"] == version)["schema"]["openAPIV3Schema"]

    assert [str(error) for error in jsonschema_rs.Draft7Validator(schema).iter_errors(manifest)] == []
    assert set(manifest["spec"]) <= set(schema["properties"]["spec"]["properties"])
