"""Who the operator is on the embedded cluster: its own ServiceAccount, with the rights of the table and no others.

So that what works here works where it is deployed: an operator that lacks a right lacks it on both.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from core.api.resource import NAMESPACE
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError
from deployment.permissions.install import install_objects, request_token
from deployment.permissions.names import DEFAULT_INSTALLATION
from deployment.permissions.rendered import rendered_objects
from localcluster.kubeconfig import read_kubeconfig, render_kubeconfig
from localcluster.privatefile import write_private

KUBECONFIG_FILE: Final = "operator.kubeconfig"


async def operator_kubeconfig(client: KubeClient, administrator: Path, data: Path) -> Path:
    """The kubeconfig, below ``data``, of an operator that has been given its rights.

    Args:
        client: an administrator's; ``administrator`` is the kubeconfig it was made from.
    Raises:
        KubeError: the server refused something.
        OSError: the file cannot be written.
    """
    with contextlib.suppress(AlreadyExistsError):
        await client.create(NAMESPACE, {"metadata": {"name": DEFAULT_INSTALLATION.namespace}})
    await install_objects(client, rendered_objects())
    token = await request_token(client)
    own = replace(read_kubeconfig(administrator), token=token, client_certificate_pem="", client_key_pem="")
    path = data / KUBECONFIG_FILE
    write_private(path, render_kubeconfig(own, namespace=DEFAULT_INSTALLATION.namespace))
    return path
