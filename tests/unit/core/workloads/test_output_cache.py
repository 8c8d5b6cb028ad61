"""Keys and entries of the output cache."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.workloads.output_cache import (
    CacheEntry,
    CacheEntryError,
    CacheRules,
    CacheSubject,
    digest_of_container,
    digest_of_inputs,
    digest_of_key,
    read_entry,
)

RULES = CacheRules()
HTTP = CacheSubject("team", "http", "1.2.0", "fetch")
URL = {"url": "https://example.com/a?b=1&c=2", "limit": 10}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = "a" * 64


def stored(run: str, digest: str = DIGEST, **more: str) -> dict[str, str]:
    return {"$bubuStorageRef": f"outputs/team/{run}/output.sha256-{digest}.json", **more}


@pytest.mark.parametrize(
    ("subject", "rules", "inputs", "key", "digest"),
    [
        (HTTP, RULES, URL, None, "632d3d7d198302dce286f5756a11b72bd6fc95bc5f7bc2ebaf2dc3603b3ffab4"),
        (
            CacheSubject("team", "http", "v1", "fetch"),
            RULES,
            {"url": "https://a.example"},
            None,
            "0f683e3297808330173be2e2259a1e4bb9dadfd82d3079efc7185ddaaf929507",
        ),
        (
            CacheSubject("team", "http", "", "other"),
            replace(RULES, salt="v2"),
            {},
            " u42:en ",
            "bb3b9f2bf6f96b3ba4755656eb8fa9058e82778855998be70907c18f4edfdbb9",
        ),
        (
            CacheSubject("team", "http", "v1", "other"),
            replace(RULES, salt="s1"),
            {},
            "abc",
            "569833c6930428e675ab83f65d4ab3f8125ea688f868419fff2b9187c59bc91e",
        ),
    ],
)
def test_keys_are_those_of_the_reference(
    subject: CacheSubject, rules: CacheRules, inputs: Any, key: str | None, digest: str
) -> None:
    found = digest_of_inputs(subject, rules, inputs) if key is None else digest_of_key(subject, rules, key)

    assert found == digest


def test_a_key_that_is_no_text_is_its_json_and_a_blank_one_is_refused() -> None:
    assert digest_of_key(HTTP, RULES, {"b": 1, "a": 2}) == digest_of_key(HTTP, RULES, '{"a":2,"b":1}')
    with pytest.raises(CacheEntryError, match=r"cache\.key is blank"):
        digest_of_key(HTTP, RULES, "  ")


def test_what_makes_another_execution_makes_another_key() -> None:
    image = "ghcr.io/acme/http@sha256:" + "b" * 64
    keys = [
        digest_of_inputs(HTTP, RULES, URL),
        digest_of_inputs(replace(HTTP, version="1.2.1"), RULES, URL),
        digest_of_inputs(replace(HTTP, engram="other"), RULES, URL),
        digest_of_inputs(replace(HTTP, step_id="other"), RULES, URL),
        digest_of_inputs(replace(HTTP, image=image), RULES, URL),
        digest_of_inputs(HTTP, replace(RULES, salt="x"), URL),
        digest_of_inputs(HTTP, RULES, {**URL, "limit": 11}),
    ]

    assert len(set(keys)) == len(keys)
    assert digest_of_inputs(replace(HTTP, image="ghcr.io/acme/http:latest"), RULES, URL) == keys[0]


def test_a_container_without_an_sdk_counts_by_its_call() -> None:
    template = {"command": ["sh", "-ec", "echo 1"], "args": ["{{ inputs.x }}"]}
    keys = {
        digest_of_inputs(replace(HTTP, engram="", container=digest), RULES, {})
        for digest in (
            "",
            digest_of_container(template, {"args": ["1"]}),
            digest_of_container(template, {"args": ["2"]}),
            digest_of_container({**template, "command": ["sh", "-ec", "echo 2"]}, {"args": ["1"]}),
            digest_of_container(template, None),
        )
    }

    assert len(keys) == 5
    assert replace(HTTP, engram="").object_key(DIGEST) == f"cache/team/_script/1.2.0/{DIGEST}.json"


def test_stored_data_counts_by_its_content_not_by_its_run() -> None:
    one, other = ({"x": [stored(run)]} for run in ("one", "other"))

    assert digest_of_inputs(HTTP, RULES, one) == digest_of_inputs(HTTP, RULES, other)
    changed = {"x": [stored("one", "b" * 64)]}
    part = {"x": [stored("one", **{"$bubuStoragePath": "rows"})]}
    plain = {"x": [{"$bubuStorageRef": "outputs/team/one/output.json"}]}
    keys = {digest_of_inputs(HTTP, RULES, each) for each in (one, changed, part, plain)}
    assert len(keys) == 4


def test_a_file_counts_by_its_content_not_by_its_run() -> None:
    def saved(run: str, **more: object) -> dict[str, object]:
        fields = {"$bubuArtifact": f"outputs/team/{run}/files/m.bin", "name": "m.bin", "sizeBytes": 7, "sha256": DIGEST}
        return {"x": [{**fields, **more}]}

    equal = {digest_of_inputs(HTTP, RULES, saved(run)) for run in ("one", "other")}
    others = [
        saved("one", sha256="b" * 64),
        saved("one", name="n.bin"),
        saved("one", sha256=""),
        saved("two", sha256=""),
    ]
    assert len(equal) == 1
    assert len(equal | {digest_of_inputs(HTTP, RULES, each) for each in others}) == 5


@pytest.mark.parametrize(
    ("version", "segment"), [("1.2.0", "1.2.0"), ("", "latest"), ("a/b", "a%2Fb"), ("..", "%2E"), ("v 1", "v%201")]
)
def test_an_object_is_below_its_namespace_whatever_the_version(version: str, segment: str) -> None:
    key = replace(HTTP, version=version).object_key(DIGEST)

    assert key == f"cache/team/http/{segment}/{DIGEST}.json"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, None),
        ({"enabled": False}, None),
        ({}, CacheRules()),
        ({"mode": "READ"}, CacheRules(writes=False)),
        ({"mode": "write"}, CacheRules(reads=False)),
        (
            {"mode": "readWrite", "ttlSeconds": 60, "salt": " s ", "inFlight": "run"},
            CacheRules("", "s", ttl_seconds=60, waits=False),
        ),
        ({"ttlSeconds": -1, "key": "{{ inputs.id }}"}, CacheRules("{{ inputs.id }}")),
    ],
)
def test_a_policy_has_its_defaults(policy: dict[str, Any] | None, expected: CacheRules | None) -> None:
    assert CacheRules.of(policy) == expected


def test_an_entry_has_the_form_of_the_reference_and_its_source() -> None:
    entry = CacheEntry({"b": 1, "a": "<"}, NOW, 60, "run-1", "run-1-fetch")

    assert entry.encoded() == (
        b'{"createdAt":"2026-01-02T03:04:05.000000Z","output":{"a":"\\u003c","b":1},'
        b'"source":{"stepRun":"run-1-fetch","storyRun":"run-1"},"ttlSeconds":60}'
    )
    assert read_entry(entry.encoded()) == replace(entry, output={"a": "<", "b": 1})


def test_an_entry_of_the_reference_is_read() -> None:
    found = read_entry(b'{"createdAt":"2026-01-02T03:04:05.123456789Z","output":{"n":1}}')

    assert (found.output, found.ttl_seconds, found.step_run) == ({"n": 1}, 0, "")
    assert found.is_fresh(NOW + timedelta(days=999))


@pytest.mark.parametrize(
    ("entry", "fresh"),
    [
        (CacheEntry({}, NOW, 60), True),
        (CacheEntry({}, NOW - timedelta(seconds=60), 60), False),
        (CacheEntry({}, None, 60), False),
        (CacheEntry({}, None, 0), True),
        (CacheEntry({}, NOW - timedelta(days=999), -5), True),
    ],
)
def test_an_entry_expires_after_its_time(entry: CacheEntry, fresh: bool) -> None:
    assert entry.is_fresh(NOW) is fresh


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"output":{}}', b'{"output":null}', json.dumps({"createdAt": "x"}).encode(), b"\xff"],
)
def test_what_is_no_entry_is_refused(content: bytes) -> None:
    with pytest.raises(CacheEntryError):
        read_entry(content)
