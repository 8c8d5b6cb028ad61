from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract import identity

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
parts = st.lists(st.text(max_size=80), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("given_parts", "name"),
    [
        # StoryRun contract 1.1
        (("nightly-report-20250101", "fetch"), "nightly-report-20250101-fetch"),
        (
            ("customer-onboarding-pipeline-2f9c1d7e8b3a4c55", "enrich-customer-profile"),
            "customer-onboarding-pipeline-2f9c1d7e8b3a4c55-enri-1ca273638c4f",
        ),
        # StepRun contract 2.1
        (("demo-run", "fetch"), "demo-run-fetch"),
        (
            ("nightly-customer-report-pipeline-production-3f9c2a7d1b5e8f60", "fetch"),
            "nightly-customer-report-pipeline-production-3f9c2a-b7e8eb366c7b",
        ),
        (
            ("nightly-customer-report-pipeline-3f9c2a7d1b5e8f60", "summarize-and-publish-results"),
            "nightly-customer-report-pipeline-3f9c2a7d1b5e8f60-c6baf63fb7ba",
        ),
        # StepRun contract 2.4
        (("materialize", "step-input", "summarize"), "materialize-step-input-summarize"),
        (("demo-run", "materialize-step-input-summarize"), "demo-run-materialize-step-input-summarize"),
        # Streaming contract 5.1
        (("run-1", "Ask.LLM", "transport"), "run-1-ask-llm-transport"),
        (
            ("voice-assistant-run-1c2d3e4f5a6b7c8d", "speech-to-text-normalizer", "transport"),
            "voice-assistant-run-1c2d3e4f5a6b7c8d-speech-to-tex-9118e235ef77",
        ),
        # Trigger contract 6.3
        (("voice-hook", "livekit-webhook", "impulse"), "voice-hook-livekit-webhook-impulse"),
        (
            ("customer-events-production-listener", "github-webhook-impulse-template", "impulse"),
            "customer-events-production-listener-github-webhook-fc877341a11e",
        ),
        (("", "--", "!"), "resource"),
    ],
)
def test_composed_names_are_those_of_the_contract(given_parts: tuple[str, ...], name: str) -> None:
    assert identity.compose(*given_parts) == name


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("demo-run", "demo-run-engram-runner"),
        (
            "customer-onboarding-pipeline-2f9c1d7e8b3a4c55-eu-central-1",
            "customer-onboarding-pipeline-2f9c1d7-c112a456d14f-engram-runner",
        ),
        (
            "nightly-customer-report-pipeline-production-3f9c2a7d1b5e8f60",
            "nightly-customer-report-pipeline-pro-61d0f3c937e3-engram-runner",
        ),
    ],
)
def test_runner_names_keep_their_suffix(run: str, name: str) -> None:
    assert identity.runner_name(run) == name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "customer-onboarding-pipeline-2f9c1d7e8b3a4c55-eu-central-1-blue-green",
            "customer-onboarding-pipeline-2f9c1d7e8b3a4c55-eu-cen-382630eea2",
        ),
        ("Demo_Run.v1", "demo-run-v1"),
        (
            "customer-report-pipeline-production-eu-west-1-nightly-batch-run-000042",
            "customer-report-pipeline-production-eu-west-1-nightl-8ec91f6e47",
        ),
        ("", "resource"),
    ],
)
def test_label_values_are_those_of_the_contract(text: str, value: str) -> None:
    assert identity.label_value(text) == value


def test_only_ascii_survives_in_names() -> None:
    assert identity.compose("café", "straße") == "caf-stra-e"


@given(parts)
def test_every_composed_name_is_a_dns_label(given_parts: list[str]) -> None:
    name = identity.compose(*given_parts)
    assert len(name) <= identity.MAX_NAME_LENGTH
    assert DNS_LABEL.fullmatch(name)


@given(st.text(max_size=120))
def test_every_runner_name_is_a_dns_label_that_tells_what_it_is(run: str) -> None:
    name = identity.runner_name(run)
    assert len(name) <= identity.MAX_NAME_LENGTH
    assert DNS_LABEL.fullmatch(name)
    assert name.endswith("engram-runner")


@given(st.text(max_size=120))
def test_every_label_value_is_valid_and_stable(text: str) -> None:
    value = identity.label_value(text)
    assert len(value) <= identity.MAX_NAME_LENGTH
    assert DNS_LABEL.fullmatch(value)
    assert identity.label_value(value) == value


@given(parts)
def test_a_composed_name_is_its_own_name(given_parts: list[str]) -> None:
    name = identity.compose(*given_parts)
    assert identity.compose(name) == name


def test_idempotency_keys_are_readable_until_they_are_too_long() -> None:
    assert identity.idempotency_key("team-a", "demo-run", "fetch") == "ns/team-a/storyrun/demo-run/step/fetch"
    assert identity.idempotency_key("", "demo-run", "fetch") == "storyrun/demo-run/step/fetch"
    long = identity.idempotency_key("team-a", "r" * 253, "fetch")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", long)


@given(st.text(max_size=70), st.text(max_size=260), st.text(max_size=70))
def test_idempotency_keys_always_fit(namespace: str, run: str, step: str) -> None:
    key = identity.idempotency_key(namespace, run, step)
    assert len(key.encode()) <= identity.MAX_IDEMPOTENCY_KEY_BYTES
    assert key == identity.idempotency_key(namespace, run, step)


def test_aliases_are_usable_in_templates() -> None:
    assert identity.step_alias("fetch-pages.v2") == "fetch_pages_v2"
