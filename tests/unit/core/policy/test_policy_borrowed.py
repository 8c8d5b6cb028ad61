"""An Engram or Story of another namespace may choose no Secrets or volumes of the namespace where its step runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.policy.layers import ExecutionPolicy, PolicyError, resolve_policy
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from core.policy.sources import Sources
from tests.unit.core.policy.policy_samples import sources

STORE = StorageSettings(StorageProvider.S3, s3_bucket="all", s3_auth_secret_name="keys")
REQUIRED = {"secretSchema": {"api": {"required": True}}}


def elsewhere(of: str, **fields: Any) -> Sources:
    """Sources in which ``of`` belongs to namespace ``lib``, while the step runs in ``team``."""
    made = replace(sources(**fields), namespace="team")
    changed = {"metadata": {"name": "x", "namespace": "lib"}}
    moved: dict[str, Any] = {of: {**getattr(made, of), **changed}}
    return replace(made, **moved)


def test_an_engram_of_another_namespace_names_no_secrets() -> None:
    policy = resolve_policy(elsewhere("engram", engram={"secrets": {"api": "database-admin"}}))
    assert policy.secrets == {}
    [note] = policy.notes
    assert note.startswith("Engram overrides of namespace lib: secrets.api is ignored")


def test_a_story_of_another_namespace_names_none_either() -> None:
    policy = resolve_policy(elsewhere("story", step={"secrets": {"api": "database-admin"}}))
    assert policy.secrets == {}
    assert "Story step of namespace lib" in policy.notes[0]


def test_a_story_of_this_namespace_names_them_for_such_an_engram() -> None:
    given = elsewhere(
        "engram", engram={"secrets": {"api": "theirs"}}, step={"secrets": {"api": "ours"}}, template=REQUIRED
    )
    assert resolve_policy(given).secrets == {"api": "ours"}


def test_what_the_template_requires_is_not_done_without() -> None:
    with pytest.raises(
        PolicyError, match=r"secrets\.api is ignored, and the template requires it: .* name it in the step"
    ):
        resolve_policy(elsewhere("engram", engram={"secrets": {"api": "theirs"}}, template=REQUIRED))


@pytest.mark.parametrize(
    "storage",
    [
        {"s3": {"bucket": "b", "endpoint": "https://x", "authentication": {"secretRef": {"name": "aws"}}}},
        {"s3": {"bucket": "other", "authentication": {"secretRef": {"name": "keys"}}}},
        {"file": {"path": "/d", "volumeClaimName": "their-data"}},
    ],
)
@pytest.mark.parametrize("of", ["engram", "story"])
def test_no_store_is_opened_with_secrets_or_volumes_that_somebody_else_chose(of: str, storage: Object) -> None:
    fields: Object = (
        {"engram": {"overrides": {"storage": storage}}} if of == "engram" else {"story_policy": {"storage": storage}}
    )
    with pytest.raises(
        PolicyError, match="a definition of another namespace may not choose Secrets and volumes of this namespace"
    ):
        resolve_policy(elsewhere(of, settings=OperatorSettings(storage=STORE), **fields))


def test_the_operators_store_may_be_described_by_anybody() -> None:
    own = {"s3": {"bucket": "all", "authentication": {"secretRef": {"name": "keys"}}}}
    given = elsewhere("engram", settings=OperatorSettings(storage=STORE), engram={"overrides": {"storage": own}})
    policy: ExecutionPolicy = resolve_policy(given)
    assert policy.storage == own
    assert policy.notes == ()


def test_in_one_namespace_everything_counts() -> None:
    given = replace(sources(engram={"secrets": {"api": "a"}}, step={"secrets": {"db": "b"}}), namespace="team")
    policy = resolve_policy(given)
    assert policy.secrets == {"api": "a", "db": "b"}
    assert policy.notes == ()
