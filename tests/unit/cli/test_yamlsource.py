"""YAML as plain values with their places, and the limits on what is read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cli import yamlsource
from cli.manifests import load_manifests
from cli.render.output import yaml_text
from cli.yamlsource import Chunk, SourceError, WrittenBoolean
from fuzz.admission.stories import json_values
from kubewire.yaml_booleans import BOOLEANS, key_text, read_words_as_booleans
from localcluster.server.requestbody import load_yaml


def read(text: str) -> yamlsource.Source:
    source = yamlsource.read(Chunk(text, 1))
    assert source is not None
    return source


def test_fields_and_items_have_the_places_where_they_stand() -> None:
    source = read("a: 1\nlist:\n  - x\n  - {b.c: 2,  d: [3]}\n")
    assert source.value == {"a": 1, "list": ["x", {"b.c": 2, "d": [3]}]}
    assert source.places == {
        "a": (1, 1),
        "list": (2, 1),
        "list[0]": (3, 5),
        "list[1]": (4, 5),
        'list[1]["b.c"]': (4, 6),
        "list[1].d": (4, 15),
        "list[1].d[0]": (4, 19),
    }
    assert source.at("list[1].d[0].e.f") == (4, 19)
    assert source.at("nowhere") == (1, 1)


def test_documents_are_told_apart_and_counted_on() -> None:
    text = "# head\n---\na: 1\n--- # two\nb: |\n  ---x\n...\n# none\n---\nc: [1]\n"
    chunks = list(yamlsource.chunks(text))
    assert "".join(chunk.text for chunk in chunks) == text
    found = [(source.value, source.place) for chunk in chunks if (source := yamlsource.read(chunk)) is not None]
    assert found == [({"a": 1}, (3, 1)), ({"b": "---x\n"}, (5, 1)), ({"c": [1]}, (10, 1))]


@pytest.mark.parametrize(
    "text",
    [
        "a: ~\nb: yes\nc: True\nd: 0x1f\ne: 1e3\nf: 1_000\ng: 'x'\nh: !!str 5\ni: '1'\nj: 0o17\nk: -1\nl: .5\nm:\n",
        "a: &x [1, {b: 2}]\nc: *x\nd: {<<: {e: 1}, f: 2}\n",
        "a: >-\n  folded\n  text\nb: |+\n  kept\n\n",
        '{"a": [true, null, "\\u00e9", 1.5]}',
        "2: a\ntrue: b\n",
    ],
)
def test_values_are_those_of_yaml_1_2(text: str) -> None:
    expected = _library().load(text)
    assert read(text).value == {key_text(key): value for key, value in expected.items()}


def _library() -> YAML:
    parser = YAML(typ="safe", pure=True)
    read_words_as_booleans(parser)
    return parser


def test_words_are_booleans_and_are_remembered() -> None:
    source = read("a: yes\n'b': 'yes'\non: [Off, \"n\", yesterday, !!str no]\nitems: [{n: &x y, z: *x}]\n")

    assert source.value == {
        "a": True,
        "b": "yes",
        "true": [False, "n", "yesterday", "no"],
        "items": [{"false": True, "z": True}],
    }
    assert source.booleans == (
        WrittenBoolean("yes", "a"),
        WrittenBoolean("on", "true", is_key=True),
        WrittenBoolean("Off", "true[0]"),
        WrittenBoolean("n", "items[0].false", is_key=True),
        WrittenBoolean("y", "items[0].false"),
    )


@pytest.mark.parametrize("word", BOOLEANS)
def test_all_readers_and_writers_of_yaml_agree_on_a_word(word: str, tmp_path: Path) -> None:
    text = f"apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: w}}\nvalue: {word}\nquoted: '{word}'\n"
    (tmp_path / "w.yaml").write_text(text)
    expected = {
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "value": BOOLEANS[word],
        "quoted": word,
    }

    assert read(text).value == expected
    assert load_yaml(text.encode()) == expected
    assert load_manifests([str(tmp_path / "w.yaml")])[0].document == expected
    assert read(yaml_text(expected)).value == expected


@pytest.mark.parametrize("flow", [False, True])
@given(value=st.dictionaries(st.text(min_size=1, max_size=4), json_values, min_size=1, max_size=4))
def test_values_are_those_of_the_library(flow: bool, value: dict[str, Any]) -> None:
    buffer, yaml = io.StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = flow
    yaml.dump(value, buffer)
    try:
        expected = _library().load(buffer.getvalue())
    except YAMLError:  # the library cannot read everything that it writes
        with pytest.raises(SourceError):
            read(buffer.getvalue())
        return
    assert read(buffer.getvalue()).value == _with_text_keys(expected)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key_text(key): _with_text_keys(child) for key, child in value.items()}
    return [_with_text_keys(child) for child in value] if isinstance(value, list) else value


def test_directives_belong_to_the_document_that_follows_them() -> None:
    text = "# head\n%YAML 1.2\n---\na: 1\n...\n%YAML 1.1\n# other\n---\nb: 2\n"
    chunks = list(yamlsource.chunks(text))
    assert [chunk.first_line for chunk in chunks] == [1, 6]
    assert [source.value for chunk in chunks if (source := yamlsource.read(chunk))] == [{"a": 1}, {"b": 2}]


def test_windows_files_and_byte_order_marks_are_understood() -> None:
    source = read("\ufeffa: 1\r\nb:\r\n  - c\r\n")
    assert source.value == {"a": 1, "b": ["c"]}
    assert source.at("b[0]") == (3, 5)


def test_instants_stay_the_text_that_was_written() -> None:
    assert read("at: 2026-01-01T00:00:00Z\n").value == {"at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n"])
def test_nothing_is_no_document(text: str) -> None:
    assert [yamlsource.read(chunk) for chunk in yamlsource.chunks(text)] == [None]


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a: &a [*a]\n", "'a' refers to itself", (1, 8)),
        ("a: *b\n", "undefined alias 'b'", (1, 4)),
        ("a: 1\nb: {c: 1, c: 2}\n", 'duplicate key "c"', (2, 11)),
        ("a:\n\tb: 1\n", "cannot start any token", (2, 1)),
        ("? [a]\n: b\n", "a key must be a string", (1, 3)),
        ("a: " + "[" * 300, "nested deeper than 200 levels", (1, 204)),
        (BOMB, "at most 100,000 values", (6, 10)),
        ("x" * (yamlsource.MAX_BYTES + 1), "larger than 2 MiB", (1, 1)),
    ],
    ids=["itself", "undefined", "twice", "tab", "odd key", "deep", "bomb", "large"],
)
def test_what_goes_beyond_a_bound_is_given_up_at_its_place(text: str, message: str, place: yamlsource.Place) -> None:
    with pytest.raises(SourceError, match=message) as refused:
        read(text)
    assert refused.value.place == place


def test_numbers_of_thousands_of_digits_stay_texts() -> None:
    assert read(f"a: {'9' * 5000}\n").value == {"a": "9" * 5000}
