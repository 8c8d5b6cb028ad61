"""A ``Kustomization`` for each folder, and one for the whole installation in ``manifests/default``.

The files are called ``Kustomization``: kustomize knows three names, and this is the only one that ``kubectl apply -f
folder`` ignores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from core.api.objects import Object

FILE_NAME: Final = "Kustomization"
_BASE: Final = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
_MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "kustomize"}


def of_files(names: Iterable[str]) -> Object:
    """A ``Kustomization`` of files in the same folder, ordered by name."""
    return {**_BASE, "resources": sorted(names)}


def of_folders(folders: Sequence[str]) -> Object:
    """The ``Kustomization`` of the whole installation: the base folders in order."""
    whole = {**_BASE, "resources": [f"../{folder}" for folder in folders]}
    return {**whole, "labels": [{"pairs": dict(_MANAGED_BY), "includeSelectors": False}]}


def patching(base: str, file: str, kind: str, name: str) -> Object:
    """``base`` with one of its documents changed by the JSON patch in ``file``."""
    patch = {"target": {"kind": kind, "name": name}, "path": file}
    return {**_BASE, "resources": [f"../{base}"], "patches": [patch]}


def overlay(base: str, files: Iterable[str], patches: Iterable[str]) -> Object:
    """``base`` with more files and with strategic merge patches, each of which is the text of one document."""
    return {**_BASE, "resources": [f"../{base}", *sorted(files)], "patches": [{"patch": text} for text in patches]}
