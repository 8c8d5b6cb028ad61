"""Names and addresses of stores in the cloud. Which host gets a token is tested with the settings, too."""

from __future__ import annotations

import pytest

from core.api import store_address


@pytest.mark.parametrize(
    ("problem_of", "good", "bad"),
    [
        (
            store_address.google_bucket_problem,
            ["abc", "a.b-c_d.example.com", "0" * 222],
            ["ab", "A-b", "a/b", "-ab", ""],
        ),
        (store_address.azure_account_problem, ["abc", "payloads0", "a" * 24], ["ab", "A" * 3, "a-b", "a" * 25, "a.b/"]),
        (
            store_address.azure_container_problem,
            ["abc", "a-b-c", "1" * 63],
            ["ab", "a--b", "-ab", "ab-", "a.b", "1" * 64],
        ),
    ],
)
def test_a_name_is_one_that_the_provider_allows(problem_of: object, good: list[str], bad: list[str]) -> None:
    assert callable(problem_of)
    assert [problem_of(name) for name in good] == [""] * len(good)
    assert all(problem_of(name).startswith(f"{name!r} must be the name of a ") for name in bad)


def test_an_endpoint_is_shown_without_what_could_be_secret() -> None:
    assert store_address.shown("https://user:key@host:1/path?sig=x") == "https://host:1"
    assert store_address.shown("https://[") == "the endpoint"


@pytest.mark.parametrize("endpoint", ["https://", "https://[", "https://host:x", "ftp://host", "host", "https://h/#a"])
def test_what_is_no_address_is_refused(endpoint: str) -> None:
    assert store_address.google_endpoint_problem(endpoint, has_secret=True)
    assert store_address.azure_endpoint_problem(endpoint, has_secret=True)
    assert store_address.https_problem(endpoint, "https://login.microsoftonline.com")


@pytest.mark.parametrize("host", ["evilgoogleapis.com", "storage.googleapis.com.evil.example", "googleapis.com"])
def test_only_hosts_of_the_provider_get_the_credentials_of_the_environment(host: str) -> None:
    assert store_address.google_endpoint_problem(f"https://{host}", has_secret=False)
    assert not store_address.google_endpoint_problem(f"https://{host}", has_secret=True)
    assert not store_address.google_endpoint_problem("https://STORAGE.googleapis.com", has_secret=False)
