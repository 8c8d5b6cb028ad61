"""Which keys of a Secret are credentials."""

from __future__ import annotations

import pytest

from core.api.store_credentials import complete_way, keys_of, lacking


@pytest.mark.parametrize(
    ("provider", "present", "way"),
    [
        ("s3", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"], ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        ("s3", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"], None),
        ("gcs", ["GOOGLE_SERVICE_ACCOUNT_KEY"], ("GOOGLE_SERVICE_ACCOUNT_KEY",)),
        ("gcs", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], None),
        ("azure", ["AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_ID"], ("AZURE_STORAGE_SAS_TOKEN",)),
        ("azure", ["AZURE_CLIENT_ID", "AZURE_TENANT_ID"], None),
        ("file", ["AWS_ACCESS_KEY_ID"], None),
    ],
)
def test_a_secret_signs_in_by_its_first_complete_keys(
    provider: str, present: list[str], way: tuple[str, ...] | None
) -> None:
    assert complete_way(provider, present) == way
    assert bool(lacking(provider, present)) is (way is None and provider != "file")


def test_what_is_lacking_is_told_with_all_ways() -> None:
    assert lacking("s3", ()) == "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    assert lacking("azure", ()) == (
        "AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and "
        "AZURE_TENANT_ID"
    )


def test_a_container_gets_every_key_of_its_provider_and_none_of_others() -> None:
    assert keys_of("s3") == ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    assert keys_of("gcs") == ("GOOGLE_SERVICE_ACCOUNT_KEY",)
    assert set(keys_of("azure")) > {"AZURE_STORAGE_ACCOUNT_KEY", "AZURE_AUTHORITY_HOST"}
    assert keys_of("file") == ()
