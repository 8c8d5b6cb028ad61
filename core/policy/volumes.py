"""Rules for the volumes of a workload: kinds, names, mount paths. Pure.

A volume of these kinds reaches nothing outside of the run's namespace. Everything else is refused: ``hostPath`` reaches
the node, ``secret`` has its own way with a declaration in the template (``secretSchema``), ``projected`` could create
tokens, and the other kinds name servers or drivers. Paths that the operator or the kubelet use cannot be mounted over.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.quantity import parse_quantity

SOURCES: Final = ("emptyDir", "persistentVolumeClaim", "configMap")
SHARED_MEMORY_PATH: Final = "/dev/shm"  # noqa: S108 - a path of the container

_FIELDS: Final = frozenset({"name", "mountPath", "readOnly", "subPath", *SOURCES})
_USE: Final = "use emptyDir, persistentVolumeClaim or configMap"
_INSTEAD: Final = {
    "hostPath": ("a directory of the node is not for workloads", "use emptyDir for scratch space, or a claim for data"),
    "secret": (
        "Secrets have a declaration",
        "declare it in secretSchema of the template with mountType: file, and name it in secrets",
    ),
    "projected": ("it could contain tokens and Secrets", "use configMap, or secretSchema of the template"),
    "downwardAPI": ("the operator sets such values as variables", "read BUBU_POD_NAME and the like"),
    "ephemeral": ("it is not supported", "create the claim, and use persistentVolumeClaim"),
    "csi": ("it would name a driver of the node", "use persistentVolumeClaim with a storage class of that driver"),
    "nfs": ("it would name a server", "use persistentVolumeClaim with a volume on that server"),
    "image": ("it is not supported", "copy the files into the image of the template"),
}
_OWN_NAMES: Final = ("bubu-", "engram-tls", "secret-", "kube-api-access-")
"""Beginnings of the names of volumes that the operator or Kubernetes adds."""
_RESERVED: Final = (
    *("/var/run/secrets", "/var/run/bubu", "/var/run/tls", "/run/secrets", "/run/bubu", "/run/tls"),
    *("/etc/bubu", "/dev", "/proc", "/sys"),
)
"""Paths of the operator and of Kubernetes; in most images ``/var/run`` is a link to ``/run``."""
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class MountedPath(NamedTuple):
    """A path of the container, and the field that asks for it."""

    path: str
    field: str


def volume_problems(volumes: Any, path: str) -> Iterator[FieldError]:
    """Problems of the volumes of one layer; ``path`` is that of the list."""
    if not isinstance(volumes, list | tuple):
        yield FieldError(path, "must be a list", "write one volume per line, each after a dash")
        return
    seen: dict[str, str] = {}
    mounts: list[MountedPath] = []
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        if not isinstance(volume, Mapping):
            yield FieldError(here, "must be an object", "give it name, mountPath and a source")
            continue
        yield from _name_problems(volume.get("name"), f"{here}.name", seen)
        yield from _source_problems(volume, here)
        yield from _path_problems(volume.get("mountPath"), f"{here}.mountPath")
        yield from _sub_path_problems(volume.get("subPath"), f"{here}.subPath")
        if isinstance(volume.get("mountPath"), str):
            mounts.append(MountedPath(volume["mountPath"], f"{here}.mountPath"))
    yield from overlaps(mounts, ())


def overlaps(mounts: list[MountedPath], others: tuple[MountedPath, ...]) -> Iterator[FieldError]:
    """Each of ``mounts`` whose path is that of an earlier one or of one of ``others``, or is above or below it."""
    for index, mount in enumerate(mounts):
        for other in (*others, *mounts[:index]):
            if _overlap(mount.path, other.path):
                message = f"{mount.path!r} overlaps with {other.path!r} of {other.field}"
                yield FieldError(mount.field, message, "choose another mountPath")
                break


def size_problem(value: Any, path: str, *, zero: bool = False) -> Iterator[FieldError]:
    """A problem if ``value`` is not a size in bytes above zero; ``zero``: zero is allowed, too."""
    try:
        amount = parse_quantity(str(value)).amount
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        yield FieldError(path, message, remedy)
        return
    if isinstance(value, bool) or amount < 0 or (not zero and amount == 0) or amount != int(amount):
        yield FieldError(path, f"{value!r} must be a number of bytes above zero", "write for example 2Gi")


def borrowed_objects(volumes: Any) -> Iterator[tuple[str, str]]:
    """The objects of the run's namespace that the volumes name, with the field of each below ``volumes``."""
    for index, volume in enumerate(volumes if isinstance(volumes, list | tuple) else ()):
        if not isinstance(volume, Mapping):
            continue
        for source, key, kind in (
            ("persistentVolumeClaim", "claimName", "claim"),
            ("configMap", "name", "ConfigMap"),
        ):
            named = volume.get(source)
            if named is not None:
                name = named.get(key) if isinstance(named, Mapping) else named
                yield f"volumes[{index}].{source}", f"{kind} {name!r}"


def _name_problems(name: Any, path: str, seen: dict[str, str]) -> Iterator[FieldError]:
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        remedy = "use lower-case letters, digits and dashes; begin and end with a letter or digit"
        yield FieldError(path, f"{name!r} is not a name of at most 63 characters", remedy)
        return
    if own := next((start for start in _OWN_NAMES if name.startswith(start)), ""):
        message = f"{name!r} is reserved: the operator uses names that begin with {own}"
        yield FieldError(path, message, "choose another name")
    if name in seen:
        yield FieldError(path, f"{name!r} is already used by {seen[name]}", "choose another name")
    seen.setdefault(name, path)


def _source_problems(volume: ReadOnlyObject, path: str) -> Iterator[FieldError]:
    unknown = sorted(str(key) for key, value in volume.items() if key not in _FIELDS and value is not None)
    for key in unknown:
        why, remedy = _INSTEAD.get(key, ("it is neither a field nor a kind of volume that workloads may have", _USE))
        yield FieldError(f"{path}.{key}", f"is not allowed: {why}", remedy)
    given = [source for source in SOURCES if volume.get(source) is not None]
    if len(given) > 1:
        yield FieldError(path, f"has several sources: {', '.join(given)}", "keep one")
    elif not given and not unknown:
        yield FieldError(path, "has no source", _USE)
    empty_dir = volume.get("emptyDir")
    if isinstance(empty_dir, Mapping):
        if empty_dir.get("medium") not in (None, "", "Memory"):
            yield FieldError(
                f"{path}.emptyDir.medium", f"{empty_dir['medium']!r} is unknown", "use Memory, or remove it"
            )
        if empty_dir.get("sizeLimit") is not None:
            yield from size_problem(empty_dir["sizeLimit"], f"{path}.emptyDir.sizeLimit")
    elif empty_dir is not None:
        yield FieldError(f"{path}.emptyDir", "must be an object", "write {} for an unlimited one")
    for source, key in (("persistentVolumeClaim", "claimName"), ("configMap", "name")):
        block = volume.get(source)
        if block is not None and not (isinstance(block, Mapping) and block.get(key)):
            yield FieldError(f"{path}.{source}.{key}", "is empty", "name an object of the run's namespace")


def _path_problems(given: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(given, str) or not given.startswith("/"):
        yield FieldError(path, f"{given!r} must be an absolute path", "begin it with /")
    elif ".." in given.split("/"):
        yield FieldError(path, f"{given!r} must not contain ..", "write the path that it means")
    elif ":" in given or "\0" in given:
        yield FieldError(path, f"{given!r} must not contain a colon or a null byte", "choose another path")
    elif reserved := next((each for each in _RESERVED if _overlap(given, each)), ""):
        remedy = "set sharedMemory" if _normal(given) == SHARED_MEMORY_PATH else "choose another path, such as /data"
        yield FieldError(path, f"{given!r} would hide {reserved}, which the operator or the kubelet uses", remedy)


def _sub_path_problems(given: Any, path: str) -> Iterator[FieldError]:
    if given is None:
        return
    if not isinstance(given, str) or given.startswith("/") or ".." in given.split("/"):
        yield FieldError(path, f"{given!r} must be a relative path without ..", "write it relative to the volume")


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _overlap(one: str, other: str) -> bool:
    first, second = (_normal(each).rstrip("/") + "/" for each in (one, other))
    return first.startswith(second) or second.startswith(first)
