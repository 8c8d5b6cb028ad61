"""Whether the settings of the operator's store describe one that can be used. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.api import store_address
from core.policy.credentials import operators_secret
from core.policy.settings import StorageProvider, StorageSettings


def storage_problems(storage: StorageSettings) -> Iterator[tuple[str, str]]:
    """Key and problem, for all settings of the chosen provider; those of other providers are not looked at."""
    prefix, provider = f"controller.storage.{storage.provider}", storage.provider
    match provider:
        case StorageProvider.S3:
            if not storage.s3_bucket:
                yield f"{prefix}.bucket", "is required when the provider is s3"
        case StorageProvider.FILE:
            if not storage.file_path:
                yield f"{prefix}.path", "is required when the provider is file"
            if not storage.file_volume_claim_name:
                yield f"{prefix}.volume-claim-name", "is required when the provider is file"
        case StorageProvider.GCS:
            yield from _name(f"{prefix}.bucket", provider, storage.gcs_bucket, store_address.google_bucket_problem)
            yield from _endpoint(prefix, storage, storage.gcs_endpoint, store_address.google_endpoint_problem)
        case StorageProvider.AZURE:
            account, container = storage.azure_account, storage.azure_container
            yield from _name(f"{prefix}.account", provider, account, store_address.azure_account_problem)
            yield from _name(f"{prefix}.container", provider, container, store_address.azure_container_problem)
            yield from _endpoint(prefix, storage, storage.azure_endpoint, store_address.azure_endpoint_problem)
        case StorageProvider.NONE:
            return


def _name(key: str, provider: str, name: str, problem_of: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    if not name:
        yield key, f"is required when the provider is {provider}"
    elif problem := problem_of(name):
        yield key, problem


def _endpoint(
    prefix: str, storage: StorageSettings, endpoint: str, problem_of: Callable[..., str]
) -> Iterator[tuple[str, str]]:
    remedy = f"name a Secret with credentials for it in {prefix}.auth-secret-name"
    if problem := problem_of(endpoint, has_secret=bool(operators_secret(storage)), remedy=remedy):
        yield f"{prefix}.endpoint", problem
