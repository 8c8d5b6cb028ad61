"""Validation of the volumes of a Pod and the mounts of its containers."""

from __future__ import annotations

from collections.abc import Iterator

from localcluster.server import cause, validation_names
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.types import Object


def volume_causes(spec: Object, where: str) -> Iterator[Cause]:
    """Everything wrong with the volumes of a Pod's spec at ``where``."""
    seen: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or ()):
        place = f"{where}.volumes[{index}]"
        name = volume.get("name", "")
        if not name:
            yield cause.required(f"{place}.name")
        for complaint in validation_names.why_not_label(name) if name else ():
            yield cause.invalid(f"{place}.name", name, complaint)
        if name in seen:
            yield cause.duplicate(f"{place}.name", name)
        seen.add(name)
        sources = [kind for kind, source in volume.items() if kind != "name" and source is not None]
        for kind in sources[1:]:
            yield cause.forbidden(f"{place}.{kind}", "may not specify more than 1 volume type")
        yield from _source_causes(volume, place)


def mount_causes(spec: Object, container: Object, where: str) -> Iterator[Cause]:
    """Everything wrong with the mounts of the container at ``where``."""
    names = {volume.get("name") for volume in spec.get("volumes") or ()}
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        place = f"{where}.volumeMounts[{index}]"
        name, path = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield cause.required(f"{place}.name")
        elif name not in names:
            yield Cause(CauseReason.NOT_FOUND, f"Not found: {cause.shown(name)}", f"{place}.name")
        if not path:
            yield cause.required(f"{place}.mountPath")
        elif path in paths:
            yield cause.invalid(f"{place}.mountPath", path, "must be unique")
        paths.add(path)
        if ".." in mount.get("subPath", "").split("/"):
            yield cause.invalid(f"{place}.subPath", mount["subPath"], "must not contain '..'")
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield cause.invalid(
                f"{place}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
            )


def _source_causes(volume: Object, where: str) -> Iterator[Cause]:
    required = (
        ("secret", "secretName"),
        ("configMap", "name"),
        ("hostPath", "path"),
        ("persistentVolumeClaim", "claimName"),
    )
    for kind, field in required:
        source = volume.get(kind)
        if source is not None and not source.get(field):
            yield cause.required(f"{where}.{kind}.{field}")
    for kind in ("secret", "configMap"):
        yield from _item_causes((volume.get(kind) or {}).get("items") or (), f"{where}.{kind}.items")
    for index, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
        place = f"{where}.projected.sources[{index}]"
        for kind in ("secret", "configMap"):
            if source.get(kind) is not None and not source[kind].get("name"):
                yield cause.required(f"{place}.{kind}.name")
            yield from _item_causes((source.get(kind) or {}).get("items") or (), f"{place}.{kind}.items")
        token = source.get("serviceAccountToken")
        if token is not None:
            if not token.get("path"):
                yield cause.required(f"{place}.serviceAccountToken.path")
            if token.get("expirationSeconds", 3600) < 600:
                field = f"{place}.serviceAccountToken.expirationSeconds"
                yield cause.invalid(
                    field, token["expirationSeconds"], "may not specify a duration less than 10 minutes"
                )


def _item_causes(items: list[Object] | tuple[()], where: str) -> Iterator[Cause]:
    for index, item in enumerate(items):
        if not item.get("key"):
            yield cause.required(f"{where}[{index}].key")
        path = item.get("path", "")
        if not path:
            yield cause.required(f"{where}[{index}].path")
        elif path.startswith("/"):
            yield cause.invalid(f"{where}[{index}].path", path, "must be a relative path")
        elif ".." in path.split("/"):
            yield cause.invalid(f"{where}[{index}].path", path, "must not contain '..'")
