"""The directories of a Pod's volumes on this machine, and the paths at which a container sees them.

Volumes that live as long as the Pod are in the Pod's directory: ``volumes/<name>``. A persistentVolumeClaim is a
directory outside of it, kept until the claim is deleted. A hostPath is that path.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcluster.node.expansion import expand
from localcluster.node.launcher.order import Mount
from localcluster.node.volumes import VolumeError

Object = dict[str, Any]


def volume_directory(volume: Object, pod_directory: Path, claims: Path, namespace: str) -> Path:
    """The directory or file of a volume on this machine; creates it where the kind allows that.

    Raises:
        VolumeError: a hostPath is not of the ``type`` that it states.
    """
    if volume.get("hostPath") is not None:
        return _host_path(volume)
    if volume.get("persistentVolumeClaim") is not None:
        place = claims / namespace / str(volume["persistentVolumeClaim"]["claimName"])
    else:
        place = pod_directory / "volumes" / str(volume["name"])
    place.mkdir(parents=True, exist_ok=True)
    return place


def container_mounts(container: Object, places: Mapping[str, Path], variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """The mounts of ``container``. ``places``: the directory of each volume, by its name.

    Raises:
        VolumeError: the volume does not exist, or a subPath leaves it.
    """
    mounts = []
    for wanted in container.get("volumeMounts") or []:
        place = places.get(wanted["name"])
        if place is None:
            raise VolumeError(f"volumeMounts[{wanted['mountPath']}]: the Pod has no volume {wanted['name']!r}")
        within = wanted.get("subPath") or expand(wanted.get("subPathExpr") or "", variables)
        source = _inside(place, within) if within else place
        mounts.append(Mount(str(source), wanted["mountPath"], read_only=bool(wanted.get("readOnly"))))
    return tuple(mounts)


def link_mounts(root: Path, mounts: tuple[Mount, ...]) -> None:
    """Without mount namespaces: link ``root``/<mount path> to each volume, by symbolic links."""
    for mount in sorted(mounts, key=lambda mount: mount.target):
        link = root / mount.target.lstrip("/")
        if link.is_symlink():
            link.unlink()
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(mount.source)


def _host_path(volume: Object) -> Path:
    wanted, path = volume["hostPath"].get("type") or "", Path(volume["hostPath"]["path"])
    where = f"spec.volumes[{volume['name']}].hostPath"
    if wanted == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif wanted == "FileOrCreate":
        path.touch(exist_ok=True)
    if not path.exists():
        raise VolumeError(f"{where}: {path} does not exist")
    if wanted.startswith("Directory") and not path.is_dir():
        raise VolumeError(f"{where}: {path} is not a directory")
    return path


def _inside(place: Path, within: str) -> Path:
    source = (place / within).resolve()
    if not source.is_relative_to(place.resolve()):
        raise VolumeError(f"subPath: {within!r} leaves the volume")
    if not source.exists():
        source.mkdir(parents=True)
    return source
