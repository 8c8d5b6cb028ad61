"""The whole installation in one file: ``python -m deployment.installer [--image NAME] > install.yaml``.

It has the objects of ``manifests/default`` in an order in which ``kubectl apply --server-side -f`` can apply them, and
needs no kustomize. Source: operator contract 23, ``build-installer``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from core.api.crd import ConversionService, custom_resource_definition
from core.api.kinds import KINDS
from core.api.objects import Object
from core.api.resource import DEPLOYMENT
from deployment import files, metadata
from deployment.permissions.files import manifest_files
from deployment.permissions.names import DEFAULT_INSTALLATION, WEBHOOK_SERVICE, Installation
from deployment.yaml_text import yaml_text
from webhooks.registration import CONVERT_PATH

_BUILT_BY_KUSTOMIZE: Final = ("Kustomization",)
_HEADER: Final = "# bobrapet: kubectl apply --server-side -f install.yaml\n"


def definitions(installation: Installation = DEFAULT_INSTALLATION) -> Iterator[Object]:
    """The definitions with all their versions, between which the operator converts."""
    service = ConversionService(installation.namespace, installation.named(WEBHOOK_SERVICE), CONVERT_PATH)
    for kind in KINDS:
        yield custom_resource_definition(kind, service if len(kind.versions) > 1 else None)


def objects(installation: Installation = DEFAULT_INSTALLATION) -> Iterator[Object]:
    """Definitions, namespace, permissions, and everything else."""
    yield from definitions(installation)
    rest = [
        obj
        for folder, _, found in files.manifest_folders(installation)
        for obj in found
        if folder != files.CERT_MANAGER and obj["kind"] not in _BUILT_BY_KUSTOMIZE
    ]
    yield from (obj for obj in rest if obj["kind"] == "Namespace")
    for _, found in manifest_files(installation):
        yield from found
    yield from (obj for obj in rest if obj["kind"] != "Namespace")


def text(image: str) -> str:
    """The file, in which the Pods run ``image``."""
    return _HEADER + "---\n".join(yaml_text(_with_image(obj, image)) for obj in objects())


def _with_image(obj: Object, image: str) -> Object:
    if obj["kind"] == DEPLOYMENT.kind:
        for container in obj["spec"]["template"]["spec"]["containers"]:
            container["image"] = image
    return obj


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployment.installer", description="Print install.yaml.")
    parser.add_argument("--image", default=metadata.image(), help="image of the operator (default: %(default)s)")
    options = parser.parse_args(arguments)
    sys.stdout.write(text(options.image))
    return 0


if __name__ == "__main__":
    sys.exit(main())
