"""The programs of a control plane: given by the environment, or built from pinned sources into a cache.

``BOBRAPET_E2E_ASSETS`` or ``KUBEBUILDER_ASSETS`` names a directory that has them. Otherwise Go builds them, each
version once. The cache (``BOBRAPET_E2E_CACHE``, else ``$XDG_CACHE_HOME/bobrapet/e2e``) is keyed by the pinned module
files and the platform. One builder at a time fills it, and a program appears in it only when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.control_plane import building
from tools.control_plane.building import BuildError, Module

DEFAULT_VERSION: Final = "1.37.2"
OLDEST_VERSION: Final = "1.31.14"
"""The oldest that the pages promise. Only its API server is built; the other programs are those of
``DEFAULT_VERSION``.
"""
ASSETS_VARIABLES: Final = ("BOBRAPET_E2E_ASSETS", "KUBEBUILDER_ASSETS")
CACHE_VARIABLE: Final = "BOBRAPET_E2E_CACHE"
GO_VARIABLE: Final = "BOBRAPET_E2E_GO"

_TOOLCHAIN: Final = Path(__file__).parent / "toolchain"
_API_SERVER: Final = "kube-apiserver"
_KUBERNETES: Final = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    _API_SERVER: "k8s.io/kubernetes/cmd/kube-apiserver",
}
_TOOLS: Final = {
    "actionlint": {"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
    "otlp-collector": {"otlp-collector": "."},
    "go-engram-0.1.4": {"go-engram-0.1.4": "."},
    "go-engram-0.1.5": {"go-engram-0.1.5": "."},
    "grpc-interop": {"grpc-interop": "google.golang.org/grpc/interop/client"},
    "helm": {"helm": "helm.sh/helm/v4/cmd/helm"},
    "h2spec": {"h2spec": "github.com/summerwind/h2spec/cmd/h2spec"},
    "kubeconform": {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
    "versitygw": {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
}


class MissingBinariesError(Exception):
    """There are no programs and no way to build them. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs are."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path
    version: str
    """Version of the API server, if they were built here. Empty for programs of the machine."""


def ensure_binaries(version: str = DEFAULT_VERSION, *, environ: Mapping[str, str] = os.environ) -> Binaries:
    """The programs, built if they are missing. The first build takes minutes and says so on standard error.

    Args:
        version: of Kubernetes, without ``v``; one of ``pinned_versions()``.
    Raises:
        MissingBinariesError: a named directory lacks a program, or there is no Go, or this version is not pinned.
        BuildError: Go failed; the message ends with the last lines of the log.
    """
    for variable in ASSETS_VARIABLES:
        if directory := environ.get(variable):
            return _binaries(_found_in(Path(directory), variable), "")
    if version not in pinned_versions():
        raise MissingBinariesError(f"Kubernetes {version} is not pinned here; choose one of {pinned_versions()}")
    paths = _kubernetes(DEFAULT_VERSION, _KUBERNETES, environ)
    if version != DEFAULT_VERSION:
        paths |= _kubernetes(version, {_API_SERVER: _KUBERNETES[_API_SERVER]}, environ)
    return _binaries(paths, version)


def _kubernetes(version: str, programs: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Path]:
    major, minor, _ = version.split(".")
    settings = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in settings.items())
    return _built(Module(_TOOLCHAIN / f"kubernetes-{version}", programs, ("-ldflags", flags)), environ)


def ensure_tool(name: str, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Another program, such as ``kubeconform``, from the named directory, ``PATH`` or the cache.

    Errors as for ``ensure_binaries``.
    """
    for directory in filter(None, map(environ.get, ASSETS_VARIABLES)):
        if (path := Path(directory) / name).exists():
            return path
    if found := shutil.which(name, path=environ.get("PATH")):
        return Path(found)
    return _built(Module(_TOOLCHAIN / name, _TOOLS[name]), environ)[name]


def ensure_node_program(name: str, *, environ: Mapping[str, str] = os.environ) -> tuple[Path, Path]:
    """Node, and the folder of a pinned npm package such as ``azurite`` that is installed into the cache.

    Raises:
        MissingBinariesError: there is no Node or no npm.
        BuildError: npm failed; the message ends with the last lines of the log.
    """
    node, npm = (shutil.which(program, path=environ.get("PATH")) for program in ("node", "npm"))
    if node is None or npm is None:
        raise MissingBinariesError(f"{name} needs node and npm; install Node.js, and put both on PATH")
    pinned = _TOOLCHAIN / name
    content = b"".join((pinned / file).read_bytes() for file in ("package.json", "package-lock.json"))
    target = cache_directory(environ) / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not target.exists():
        building.install(pinned, target, Path(npm))
    return Path(node), target / "node_modules" / name


def ensure_debian_program(package: str, name: str, *, environ: Mapping[str, str] = os.environ) -> Path:
    """A program of a Debian package, such as ``promtool`` of ``prometheus``: from the named directory, ``PATH`` or the
    cache, into which the package is unpacked. Its version is that of the system's distribution.

    Prometheus takes minutes to build from source, and its package a second.

    Raises:
        MissingBinariesError: there is no apt-get.
        BuildError: apt-get failed; the message ends with the last lines of the log.
    """
    for directory in filter(None, map(environ.get, ASSETS_VARIABLES)):
        if (path := Path(directory) / name).exists():
            return path
    if found := shutil.which(name, path=environ.get("PATH")):
        return Path(found)
    target = cache_directory(environ) / f"debian-{package}-{platform.machine()}"
    if not target.exists():
        apt = shutil.which("apt-get", path=environ.get("PATH"))
        if apt is None:
            raise MissingBinariesError(f"{name} is not on PATH, and no apt-get is there to fetch it; install {package}")
        building.unpack(package, target, Path(apt))
    return target / "usr" / "bin" / name


def ensure_go_module(name: str, path: str, *, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of a pinned Go module in Go's own cache, for files that it has beside its programs.

    Args:
        name: of the folder here that pins its version and checksum.
        path: of the module.

    Raises:
        MissingBinariesError: there is no Go.
        BuildError: Go failed; the message has what it said.
    """
    go = find_go(environ)
    if go is None:
        raise MissingBinariesError(f"{path} needs Go; install it and put it on PATH, or name it in {GO_VARIABLE}")
    return building.sources(_TOOLCHAIN / name, path, go)


def pinned_versions() -> list[str]:
    """The versions of Kubernetes that can be built, newest first."""
    versions = [path.name.removeprefix("kubernetes-") for path in _TOOLCHAIN.glob("kubernetes-*")]
    return sorted(versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True)


def find_go(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The Go command that ``BOBRAPET_E2E_GO`` names, that is on ``PATH``, or where its installer puts it."""
    if named := environ.get(GO_VARIABLE):
        return Path(named)
    found = shutil.which("go", path=environ.get("PATH"))
    candidates = [Path(found)] if found else [Path("/usr/local/go/bin/go")]
    return next((path for path in candidates if path.exists()), None)


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache is outside any working tree, so that checkouts share it."""
    if named := environ.get(CACHE_VARIABLE):
        return Path(named)
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "bobrapet" / "e2e"


def _built(module: Module, environ: Mapping[str, str]) -> dict[str, Path]:
    """Every program of ``module``, from the cache or newly built."""
    directory = cache_directory(environ) / _key_of(module)
    wanted = {name: directory / name for name in module.programs}
    if all(path.exists() for path in wanted.values()):
        return wanted
    go = find_go(environ)
    if go is None:
        raise MissingBinariesError(_remedy(module, environ))
    building.build(module, directory, go)
    return wanted


def _key_of(module: Module) -> str:
    """Different sources, flags or platforms never share a directory."""
    sources = ("go.mod", "go.sum", *sorted(path.name for path in module.directory.glob("*.go")))
    pinned = b"".join((module.directory / name).read_bytes() for name in sources)
    content = pinned + repr((sorted(module.programs.items()), module.flags)).encode()
    where = f"{platform.system()}-{platform.machine()}".lower()
    return f"{module.directory.name}-{where}-{hashlib.sha256(content).hexdigest()[:12]}"


def _found_in(directory: Path, variable: str) -> dict[str, Path]:
    found = {name: directory / name for name in _KUBERNETES}
    if missing := [name for name, path in found.items() if not path.exists()]:
        raise MissingBinariesError(
            f"{variable}={directory} lacks {', '.join(missing)}; "
            f"put them there, or unset {variable} to have Go build them"
        )
    return found


def _binaries(paths: Mapping[str, Path], version: str) -> Binaries:
    return Binaries(paths["etcd"], paths["kube-apiserver"], paths["kube-controller-manager"], paths["kubectl"], version)


def _remedy(module: Module, environ: Mapping[str, str]) -> str:
    names = ", ".join(module.programs)
    wanted = re.search(r"^go (\S+)$", (module.directory / "go.mod").read_text(), re.MULTILINE)
    return (
        f"{names}: not in {cache_directory(environ)}, and no Go to build them with. Do one of:\n"
        f"  install Go {wanted[1] if wanted else ''} or newer (put it on PATH, or name it in {GO_VARIABLE});\n"
        f"  name a directory that has them in {ASSETS_VARIABLES[0]} (or {ASSETS_VARIABLES[1]});\n"
        "  use a cluster you have: BOBRAPET_E2E_KUBECONFIG=/path/to/kubeconfig."
    )


def main(arguments: Sequence[str]) -> int:
    """``build [VERSION]``: put everything into the cache, and print where it is.

    Without a version that includes the API server of ``OLDEST_VERSION``. It includes helm, which takes longest of the
    other programs. Tests skip what they cannot run without it.
    """
    try:
        print(ensure_binaries(*arguments).etcd.parent)
        with suppress(MissingBinariesError):
            ensure_tool("helm")
            if not arguments:
                ensure_binaries(OLDEST_VERSION)
    except (MissingBinariesError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
