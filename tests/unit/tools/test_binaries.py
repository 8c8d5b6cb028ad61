"""Where the programs of a control plane come from. A fake Go builds them, a fake npm installs them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tools.control_plane import binaries, building
from tools.control_plane.binaries import (
    MissingBinariesError,
    ensure_binaries,
    ensure_debian_program,
    ensure_go_module,
    ensure_node_program,
    pinned_versions,
)
from tools.control_plane.building import BuildError, Module

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
GO = """#!/bin/sh
echo "$@" >> {folder}/calls
{body}
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
echo program > $out
"""


def fake_go(folder: Path, body: str = "") -> Path:
    """A fake Go that runs ``body`` and then writes a file for each program."""
    path = folder / "go"
    path.write_text(GO.format(folder=folder, body=body))
    path.chmod(0o755)
    return path


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def module(folder: Path, *programs: str) -> Module:
    folder.mkdir(exist_ok=True)
    for name in ("go.mod", "go.sum"):
        (folder / name).write_text("go 1.26.0\n")
    return Module(folder, {name: f"example.org/{name}" for name in programs})


@pytest.mark.parametrize("variable", ["BOBRAPET_E2E_ASSETS", "KUBEBUILDER_ASSETS"])
def test_a_named_directory_is_used_as_it_is(tmp_path: Path, variable: str) -> None:
    for name in PROGRAMS:
        (tmp_path / name).touch()
    found = ensure_binaries(environ={variable: str(tmp_path)})
    assert (found.etcd, found.kube_apiserver) == (tmp_path / "etcd", tmp_path / "kube-apiserver")


def test_a_named_directory_that_lacks_a_program_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "etcd").touch()
    with pytest.raises(MissingBinariesError, match="lacks kubectl, kube-controller-manager, kube-apiserver; put them"):
        ensure_binaries(environ={"KUBEBUILDER_ASSETS": str(tmp_path)})


def test_without_programs_and_go_one_message_says_what_to_do(tmp_path: Path) -> None:
    environ = {"BOBRAPET_E2E_CACHE": str(tmp_path), "PATH": "", "BOBRAPET_E2E_GO": ""}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binaries, "find_go", lambda environ: None)
        with pytest.raises(MissingBinariesError) as caught:
            ensure_binaries(environ=environ)
    text = str(caught.value)
    assert all(word in text for word in ("install Go 1.", "BOBRAPET_E2E_ASSETS", "BOBRAPET_E2E_KUBECONFIG"))


def test_a_version_nobody_pinned_is_refused_with_those_that_are() -> None:
    with pytest.raises(MissingBinariesError, match=pinned_versions()[0]):
        ensure_binaries("1.2.3", environ={})


def test_programs_are_built_once_and_pinned(tmp_path: Path) -> None:
    environ = {"BOBRAPET_E2E_CACHE": str(tmp_path / "cache"), "BOBRAPET_E2E_GO": str(fake_go(tmp_path))}
    first, second = ensure_binaries(environ=environ), ensure_binaries(environ=environ)
    assert first == second
    assert first.kubectl.read_text() == "program\n"
    assert len(calls(tmp_path)) == len(PROGRAMS)
    assert all("-mod=readonly" in call for call in calls(tmp_path))


def test_the_cache_lies_outside_of_any_checkout() -> None:
    assert binaries.cache_directory({"HOME": "/home/me"}) == Path("/home/me/.cache/bobrapet/e2e")
    assert binaries.cache_directory({"HOME": "/h", "XDG_CACHE_HOME": "/c"}) == Path("/c/bobrapet/e2e")


def test_a_failed_build_leaves_no_program_and_shows_the_end_of_its_log(tmp_path: Path) -> None:
    go = fake_go(tmp_path, "echo no such package >&2; exit 1")
    with pytest.raises(BuildError, match=r"(?s)tool: go build failed.*no such package"):
        building.build(module(tmp_path / "module", "tool"), tmp_path / "cache", go)
    assert not (tmp_path / "cache" / "tool").exists()


def test_a_go_module_is_fetched_as_pinned_and_its_folder_returned(tmp_path: Path) -> None:
    go = fake_go(tmp_path, """echo '{"Dir": "/cache/module"}'; exit 0""")
    environ = {"BOBRAPET_E2E_GO": str(go)}
    assert ensure_go_module("cert-manager", "example.org/module", environ=environ) == Path("/cache/module")
    assert calls(tmp_path) == ["mod download -json example.org/module"]


def test_a_go_module_that_cannot_be_fetched_is_an_error_with_the_words_of_go(tmp_path: Path) -> None:
    go = fake_go(tmp_path, "echo checksum mismatch >&2; exit 1")
    with pytest.raises(BuildError, match="checksum mismatch"):
        building.sources(tmp_path, "example.org/module", go)


def test_without_go_the_message_about_a_module_says_what_to_install() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binaries, "find_go", lambda environ: None)
        with pytest.raises(MissingBinariesError, match=r"example\.org/module needs Go; install it"):
            ensure_go_module("cert-manager", "example.org/module", environ={})


def test_two_builders_at_once_build_once(tmp_path: Path) -> None:
    go, wanted = fake_go(tmp_path, "sleep 0.2"), module(tmp_path / "module", "a", "b")
    builders = [threading.Thread(target=building.build, args=(wanted, tmp_path / "cache", go)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(calls(tmp_path)) == 2


def fake_npm(folder: Path, body: str) -> dict[str, str]:
    """The environment with a fake Node and a fake npm that runs ``body``."""
    for name, text in (("node", ""), ("npm", f'echo "$@" >> {folder}/calls\n{body}')):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder), "BOBRAPET_E2E_CACHE": str(folder / "cache")}


def test_an_npm_package_is_installed_once_as_its_lock_says_without_its_scripts(tmp_path: Path) -> None:
    environ = fake_npm(tmp_path, "/bin/mkdir -p node_modules/azurite; /bin/cp package-lock.json node_modules/azurite")

    first, second = (ensure_node_program("azurite", environ=environ) for _ in range(2))

    assert first == second
    node, package = first
    assert node == tmp_path / "node"
    assert '"node_modules/azurite"' in (package / "package-lock.json").read_text()
    assert calls(tmp_path) == ["ci --ignore-scripts --no-audit --no-fund --prefer-offline"]


def test_a_failed_installation_leaves_nothing_and_shows_the_end_of_its_log(tmp_path: Path) -> None:
    environ = fake_npm(tmp_path, "echo no such package >&2; exit 1")
    for _ in range(2):
        with pytest.raises(BuildError, match=r"(?s)azurite: npm ci failed.*no such package"):
            ensure_node_program("azurite", environ=environ)
    assert [path.name for path in (tmp_path / "cache").glob("azurite-*") if path.is_dir()] == []


def test_without_node_the_message_says_what_to_install() -> None:
    with pytest.raises(MissingBinariesError, match=r"azurite needs node and npm; install Node\.js"):
        ensure_node_program("azurite", environ={"PATH": ""})


APT = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$*" in
*update*) touch {folder}/lists ;;
*download*) test -e {folder}/lists || exit 100; touch prometheus_2_amd64.deb ;;
-x*) mkdir -p usr/bin && echo program > usr/bin/promtool ;;
esac
"""


def fake_debian(folder: Path) -> dict[str, str]:
    """A PATH whose apt-get has no lists of packages until it is told to update them."""
    for name in ("apt-get", "dpkg"):
        program = folder / name
        program.write_text(APT.format(folder=folder))
        program.chmod(0o755)
    return {"PATH": str(folder), "BOBRAPET_E2E_CACHE": str(folder / "cache")}


def test_a_program_of_debian_is_unpacked_once_and_nothing_is_installed(tmp_path: Path) -> None:
    environ = fake_debian(tmp_path)
    (tmp_path / "lists").touch()

    first, second = (ensure_debian_program("prometheus", "promtool", environ=environ) for _ in range(2))

    assert first == second
    assert first.read_text() == "program\n"
    assert [line.split()[-1] for line in calls(tmp_path)] == ["prometheus", "."]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root renews lists of packages")
def test_root_renews_lists_that_lack_the_package(tmp_path: Path) -> None:
    ensure_debian_program("prometheus", "promtool", environ=fake_debian(tmp_path))

    assert [line.split()[-1] for line in calls(tmp_path)] == ["prometheus", "update", "prometheus", "."]


def test_a_machine_without_apt_gets_a_remedy(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "BOBRAPET_E2E_CACHE": str(tmp_path)}

    with pytest.raises(MissingBinariesError, match=r"promtool is not on PATH, and no apt-get .* install prometheus"):
        ensure_debian_program("prometheus", "promtool", environ=environ)
