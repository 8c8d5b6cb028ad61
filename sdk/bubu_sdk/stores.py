"""Opens the payload store that the environment configures: ``file``, none, or with the extra ``bubu-sdk[storage]``
``s3``, ``gcs`` or ``azure``.

Source: SDK contract 2, 3.2, 6.
"""

from __future__ import annotations

from collections.abc import Mapping

from bubu_sdk import volume
from bubu_sdk.errors import ContextError
from bubu_sdk.storage import FileStore, Store


def open_store(environ: Mapping[str, str]) -> Store | None:
    """The store that ``environ`` configures; ``None`` if storage is disabled.

    Raises:
        ContextError: the provider is unknown, settings are missing or contradictory, or the extra
            ``bubu-sdk[storage]`` is missing.
    """
    provider = environ.get("BUBU_STORAGE_PROVIDER", "")
    if provider in ("", "none"):
        return None
    if provider == "file":
        root = environ.get("BUBU_STORAGE_PATH", "").strip()
        if not root:
            raise ContextError("BUBU_STORAGE_PATH is required when BUBU_STORAGE_PROVIDER is 'file'")
        return FileStore(volume.mounted(root, environ))
    if provider == "s3":
        from bubu_sdk import s3

        return s3.open_s3_store(environ)
    if provider == "gcs":
        from bubu_sdk import gcs

        return gcs.open_gcs_store(environ)
    if provider == "azure":
        from bubu_sdk import azure

        return azure.open_azure_store(environ)
    raise ContextError(f"BUBU_STORAGE_PROVIDER {provider!r} must be one of 's3', 'gcs', 'azure', 'file', 'none'")
