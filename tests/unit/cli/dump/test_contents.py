from __future__ import annotations

import json

from cli.dump.contents import MANIFEST, MAX_TOTAL_BYTES, DumpContents
from cli.dump.redaction import Redaction


def contents() -> DumpContents:
    return DumpContents(Redaction(b"key"))


def test_the_manifest_names_every_file_and_what_was_left_out() -> None:
    dump = contents()
    dump.add_object("run.json", {"kind": "StoryRun", "spec": {"inputs": {"a": 1}}})
    dump.add_text("logs/a.log", "password=hunter2 x\n")
    dump.unreadable["events.json"] = "you may not"

    files = dump.finished({"what": "StoryRun a/b"})

    manifest = json.loads(files[MANIFEST])
    assert manifest["what"] == "StoryRun a/b"
    assert set(manifest["files"]) == {"run.json", "logs/a.log"}
    assert manifest["valuesLeftOut"] == {"run.json": 1, "logs/a.log": 1}
    assert manifest["notReadable"] == {"events.json": "you may not"}
    assert manifest["neverRead"] == ["Secrets"]
    assert files["logs/a.log"] == b"password=[redacted] x\n"


def test_a_secret_that_is_met_late_is_removed_from_earlier_files_and_the_manifest() -> None:
    dump = contents()
    dump.add_text("a.log", "uses planted-value-1\n")
    dump.unreadable["b"] = "cannot use planted-value-1"
    dump.add_object("run.json", {"kind": "StoryRun", "spec": {"inputs": {"token": "planted-value-1"}}})

    files = dump.finished({})

    assert not any(b"planted" in content for content in files.values())
    assert json.loads(files[MANIFEST])["valuesLeftOut"]["a.log"] == 1


def test_a_large_file_is_cut_and_the_whole_is_bounded() -> None:
    dump = DumpContents(Redaction(b"key"), max_total_bytes=100, max_file_bytes=30)
    for number in range(5):
        dump.add_text(f"{number}.log", "x" * 40)

    files = dump.finished({})

    assert dump.size_bytes == sum(len(content) for path, content in files.items() if path != MANIFEST) == 90
    assert dump.shortened["0.log"] == "only the first 30 of 40 bytes"
    assert dump.shortened["4.log"] == "left out: the dump would be larger than 100 bytes"
    assert set(files) == {MANIFEST, "0.log", "1.log", "2.log"}


def test_a_dump_has_at_most_fifty_mebibytes() -> None:
    assert MAX_TOTAL_BYTES < 50 << 20
