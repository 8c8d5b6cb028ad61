"""The identities of operator and hub on the embedded cluster: a ServiceAccount each, with exactly its permissions.

So an operator that lacks a permission fails here in the same way as in an installation.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from cli.embedded.store_claims import STORE_SETTINGS, create_store_claim, uses_store
from core.api.resource import CONFIG_MAP, NAMESPACE
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from core.policy.config_values import ANY_IMAGE
from core.workloads.script import DEFAULT_IMAGE_KEY, IMAGES_KEY
from deployment.packaged import Packaged, packaged
from deployment.permissions.hub import hub_objects
from deployment.permissions.install import install_objects, request_token
from deployment.permissions.names import CONFIG_NAME, DEFAULT_INSTALLATION, HUB_ACCOUNT, OPERATOR_ACCOUNT
from localcluster.kubeconfig import read_kubeconfig, render_kubeconfig
from localcluster.privatefile import write_private

KUBECONFIG_FILE: Final = "operator.kubeconfig"
HUB_KUBECONFIG_FILE: Final = "hub.kubeconfig"
SCRIPTS: Final = {IMAGES_KEY: ANY_IMAGE, DEFAULT_IMAGE_KEY: "busybox"}
"""Script steps may use every image here: only those in the user's image map have a program."""
SETTINGS: Final = {**SCRIPTS, **STORE_SETTINGS}


async def operator_kubeconfig(client: KubeClient, administrator: Path, data: Path) -> Path:
    """The kubeconfig, below ``data``, of an operator with its permissions, which this function creates.

    Args:
        client: of an administrator; ``administrator`` is the kubeconfig that it was made from.
    Raises:
        KubeError: the server refused a request.
        OSError: the file cannot be written.
    """
    with contextlib.suppress(AlreadyExistsError):
        await client.create(NAMESPACE, {"metadata": {"name": DEFAULT_INSTALLATION.namespace}})
    await install_objects(client, packaged(Packaged.PERMISSIONS))
    await configure(client)
    return await _kubeconfig_of(client, administrator, OPERATOR_ACCOUNT, data / KUBECONFIG_FILE)


async def hub_kubeconfig(client: KubeClient, administrator: Path, data: Path) -> Path:
    """The same for the hub; the operator's was made before."""
    await install_objects(client, hub_objects())
    return await _kubeconfig_of(client, administrator, HUB_ACCOUNT, data / HUB_KUBECONFIG_FILE)


async def _kubeconfig_of(client: KubeClient, administrator: Path, account: str, path: Path) -> Path:
    token = await request_token(client, account=account)
    own = replace(read_kubeconfig(administrator), token=token, client_certificate_pem="", client_key_pem="")
    write_private(path, render_kubeconfig(own, namespace=DEFAULT_INSTALLATION.namespace))
    return path


async def configure(client: KubeClient) -> None:
    """The operator's ConfigMap, unless the user has made or changed one; and the claim of the first run."""
    metadata = {"name": CONFIG_NAME, "namespace": DEFAULT_INSTALLATION.namespace}
    try:
        config_map = await client.create(CONFIG_MAP, {"metadata": metadata, "data": SETTINGS})
    except AlreadyExistsError:
        config_map = await client.get(CONFIG_MAP, CONFIG_NAME, DEFAULT_INSTALLATION.namespace)
        if config_map.get("data") == SCRIPTS:  # unchanged since a version without a store made it
            with contextlib.suppress(ConflictError, NotFoundError):
                config_map = await client.replace(CONFIG_MAP, {**config_map, "data": SETTINGS})
    if uses_store(config_map):
        await create_store_claim(client, "default")
