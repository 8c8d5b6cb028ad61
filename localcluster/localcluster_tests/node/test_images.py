import os
import sys
from pathlib import Path

import pytest

from localcluster.node.images import ImageMap, ImageMapError, Program, UnknownImageError, default_path, parse_image_map

MAP = Path("/maps/images.yaml")


BAD_PORTS = ("[8080]", "{x: P}", "{0: P}", "{65536: P}")


def written(directory: Path, text: str) -> ImageMap:
    path = directory / "images.yaml"
    path.write_text(text)
    return ImageMap(path)


def test_an_entry_says_command_args_env_and_directory() -> None:
    words = "command: [$(PYTHON), ./x.py], args: [--fast], env: {M: 1}, workdir: sub, inherit: [KEY], ports: {8080: P}"
    text = f"images: {{a: {{{words}}}}}"

    program = parse_image_map(text, MAP)["a"]

    assert program == Program((sys.executable, "./x.py"), ("--fast",), {"M": "1"}, "/maps/sub", ("KEY",), {8080: "P"})


def test_a_first_word_with_a_dot_is_relative_to_the_file() -> None:
    assert parse_image_map("images: {a: {command: [./run.sh]}}", MAP)["a"].command == ("/maps/run.sh",)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, ("entry", "point", "default")),
        ({"args": ["own"]}, ("entry", "point", "own")),
        ({"command": ["other"]}, ("other",)),
        ({"command": ["other"], "args": ["$(X)"]}, ("other", "value")),
    ],
    ids=["neither", "args", "command", "both"],
)
def test_command_and_args_mix_as_entrypoint_and_cmd_do(container: dict[str, object], expected: tuple[str, ...]) -> None:
    assert Program(("entry", "point"), ("default",)).argv(container, {"X": "value"}) == expected


@pytest.mark.parametrize(
    "image",
    [
        "greeter",
        "greeter:1.0",
        "docker.io/greeter:2",
        "docker.io/library/greeter",
        "greeter@sha256:abc",
        "greeter:1@sha256:a",
    ],
)
def test_a_bare_pattern_means_every_tag_digest_and_spelling(tmp_path: Path, image: str) -> None:
    assert written(tmp_path, "images: {greeter: {command: [hi]}}").find(image).command == ("hi",)


def test_a_registry_port_is_no_tag(tmp_path: Path) -> None:
    images = written(tmp_path, "images: {'host:5000/app': {command: [hi]}}")

    assert images.find("host:5000/app:v1").command == ("hi",)
    with pytest.raises(UnknownImageError):
        images.find("host")


def test_the_most_precise_pattern_wins(tmp_path: Path) -> None:
    text = "images: {'*': {command: [any]}, 'acme/*': {command: [acme]}, 'acme/x:1': {command: [exact]}}"
    images = written(tmp_path, text)

    assert [images.find(name).command[0] for name in ("zeta", "acme/y", "acme/x:1")] == ["any", "acme", "exact"]


def test_built_in_images_need_no_file(tmp_path: Path) -> None:
    images = ImageMap(tmp_path / "none.yaml")

    assert images.find("python:3.12-slim").args == (sys.executable,)
    assert images.find("busybox").args == ("sh",)


def test_an_unknown_image_names_the_file_to_edit(tmp_path: Path) -> None:
    with pytest.raises(UnknownImageError, match=r'image "nope": .* add an entry to .*none.yaml'):
        ImageMap(tmp_path / "none.yaml").find("nope")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    images = written(tmp_path, "images: {a: {command: [one]}}")
    assert images.find("a").command == ("one",)

    (tmp_path / "images.yaml").write_text("images: {a: {command: [another]}}")
    os.utime(tmp_path / "images.yaml", (1, 1))

    assert images.find("a").command == ("another",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "not YAML"),
        ("programs: {}", "images: missing"),
        ("images: {a: [x]}", r"images\[a\]: must be a mapping"),
        ("images: {a: {comand: [x]}}", r"images\[a\].comand: unknown field; known are args"),
        ("images: {a: {command: x}}", r"images\[a\].command: must be a list"),
        ("images: {a: {env: [x]}}", r"images\[a\].env: must be a mapping"),
        *((f"images: {{a: {{ports: {ports}}}}}", r"images\[a\].ports: must be a mapping") for ports in BAD_PORTS),
    ],
)
def test_a_damaged_map_names_entry_and_field(text: str, complaint: str) -> None:
    with pytest.raises(ImageMapError, match=complaint):
        parse_image_map(text, MAP)


def test_the_default_place_follows_the_desktop_convention() -> None:
    assert default_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/bobrapet/images.yaml")
    assert default_path({"HOME": "/home/u"}) == Path("/home/u/.config/bobrapet/images.yaml")
