"""``init``: a small project to begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from cli.console import Console
from cli.options import CLUSTER, DRY_RUN, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError, UsageError


def register(app: typer.Typer) -> None:
    app.command("init")(with_common_options(init, also=DRY_RUN, without=CLUSTER))


def init(
    options: CommonOptions,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write it; the Story gets its name.", show_default=False)
    ] = Path(),
) -> None:
    """Write a small project: a Story, an Engram in Python with a test, an image map, and a README with the commands.

    Without DIR it is written into the current folder. A file that exists is never overwritten: then nothing is written,
    and the command names each. --dry-run=client prints the files.
    """
    check_options(options, "init")
    console, name = Console(options), name_of(folder)
    files = files_of(name)
    if options.dry_run is DryRun.CLIENT:
        check_free(folder, files)
        console.result("\n".join(f"==> {folder / file} <==\n{text}" for file, text in files.items()).rstrip("\n"))
        return
    write(folder, files)
    console.result("\n".join(str(folder / file) for file in files))
    story, images = (quote(str(folder / file)) for file in ("story.yaml", "images.yaml"))
    console.note(f'run it with: bobrapet run {story} --image-map {images} -i text="to be or not to be"')


def check_options(options: CommonOptions, verb: str) -> None:
    if options.output not in ("table", "name"):
        raise UsageError(f"{verb} has no output format {options.output!r}", remedy="leave -o out")
    if options.dry_run is DryRun.SERVER:
        raise UsageError(f"{verb} asks no server", remedy="use --dry-run=client")


MAX_NAME_LENGTH: Final = 40
"""Leaves room for the names of runs and steps, which begin with it."""
_FALLBACK_NAME: Final = "words"
_STORY: Final = """\
# The program, once for the cluster.
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: PROJECT-count}
spec:
  version: 1.0.0
  image: example/PROJECT-count:1.0.0
  supportedModes: [job]
  inputSchema:
    type: object
    required: [text]
    properties:
      text: {type: string}
      top: {type: integer, minimum: 1}
  outputSchema:
    type: object
    required: [words, most_common]
    properties:
      words: {type: integer}
      most_common: {type: array, items: {type: string}}
---
# The program, in this namespace: the place for its configuration and Secrets.
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: PROJECT-count}
spec:
  templateRef: {name: PROJECT-count}
---
# The workflow.
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: PROJECT}
spec:
  inputsSchema:
    type: object
    required: [text]
    properties:
      text: {type: string}
      top: {type: integer, minimum: 1, default: 3}
  policy: {timeouts: {story: 5m, step: 1m}}
  steps:
    - name: count
      ref: {name: PROJECT-count}
      with: {text: "{{ inputs.text }}", top: "{{ inputs.top }}"}
    - name: again                                  # waits for count, because it reads its output
      if: steps.count.output.words > 3
      ref: {name: PROJECT-count}
      with: {text: '{{ join " " steps.count.output.most_common }}'}
  output:
    words: "{{ steps.count.output.words }}"
    most_common: "{{ steps.count.output.most_common }}"
"""
_ENGRAM: Final = '''\
"""Counts the words of a text."""

from dataclasses import dataclass

from bubu_sdk import Context, EngramError, engram


@dataclass
class Inputs:
    text: str
    top: int = 3


@dataclass
class WordCount:
    words: int
    most_common: list[str]


@engram
def main(ctx: Context, inputs: Inputs) -> WordCount:
    words = inputs.text.lower().split()
    if not words:
        raise EngramError("the text is empty", code="EMPTY_TEXT")
    ctx.logger.info("counting", extra={"words": len(words)})
    ranked = sorted(set(words), key=lambda word: (-words.count(word), word))
    return WordCount(words=len(words), most_common=ranked[: inputs.top])


if __name__ == "__main__":
    main.run()
'''
_TEST: Final = '''\
"""The Engram, without a cluster."""

from bubu_sdk.testing import EngramEnvironment, check_batch
from count_words import main


def test_words_are_counted():
    outcome = EngramEnvironment().run(main, {"text": "to be or not to be", "top": 2})

    assert outcome.output == {"words": 6, "most_common": ["be", "to"]}


def test_an_empty_text_fails_and_is_not_retried():
    outcome = EngramEnvironment().run(main, {"text": ""})

    assert (outcome.phase, outcome.status["exitClass"]) == ("Failed", "terminal")


def test_the_operator_can_rely_on_it():
    check_batch(main, {"text": "one two"})
'''
_IMAGES: Final = """\
# The embedded cluster pulls no images. It runs these programs instead; paths are relative to this file.
images:
  "example/PROJECT-count:*":
    command: ["$(PYTHON)", ./count_words.py]
"""
_DOCKERFILE: Final = """\
FROM python:3.12-slim
COPY wheels /wheels
RUN pip install --no-cache-dir --find-links /wheels bubu-sdk
COPY count_words.py /app/count_words.py
USER 65532
ENTRYPOINT ["python", "/app/count_words.py"]
"""
_README: Final = """\
# PROJECT

| file | is |
|---|---|
| `story.yaml` | the workflow, and the definitions of its program |
| `count_words.py`, `test_count_words.py` | the program, and its test |
| `images.yaml` | which program the embedded cluster runs for which image |
| `Dockerfile` | the image for a real cluster |

On this machine; the test needs a Python with pytest and bubu-sdk, which the Python of bobrapet has:

```sh
bobrapet lint story.yaml
python -m pytest
bobrapet run story.yaml --image-map images.yaml -i text="to be or not to be"
```

Keep the cluster up, and look around:

```sh
export KUBECONFIG=$(bobrapet up --image-map images.yaml)
bobrapet submit PROJECT -i text="one fish two fish" --watch
bobrapet why @latest
bobrapet logs @latest
bobrapet down
```

On a real cluster, with your registry in `story.yaml` instead of `example`. bubu-sdk is on no package index yet:
`make build` in a checkout of bobrapet writes its wheel to `dist`, and the image takes it from the folder `wheels`:

```sh
mkdir wheels && cp BOBRAPET/dist/bubu_sdk-*.whl wheels
docker build -t example/PROJECT-count:1.0.0 .
docker push example/PROJECT-count:1.0.0
kubectl apply -f story.yaml
bobrapet submit PROJECT -i text="to be or not to be" --watch
```
"""


def name_of(folder: Path) -> str:
    """The name of the Story: that of the folder, as far as Kubernetes allows it."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower())[:MAX_NAME_LENGTH].strip("-")
    return plain or _FALLBACK_NAME


def files_of(name: str) -> dict[str, str]:
    """File name → text of the project whose Story is called ``name``."""
    texts = {
        "story.yaml": _STORY,
        "count_words.py": _ENGRAM,
        "test_count_words.py": _TEST,
        "images.yaml": _IMAGES,
        "Dockerfile": _DOCKERFILE,
        "README.md": _README,
    }
    return {file: text.replace("PROJECT", name) for file, text in texts.items()}


def check_free(folder: Path, files: Mapping[str, str]) -> None:
    """
    Raises:
        CommandError: some of the files exist, or the folder is something else; the message names each.
    """
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} exists and is not a folder", remedy="choose another name")
    taken = [str(folder / file) for file in files if (folder / file).exists() or (folder / file).is_symlink()]
    if taken:
        listed = "\n".join(f"{file} exists" for file in taken)
        raise CommandError(listed, remedy="nothing was written; choose another folder, or move these files away")


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts by relative path. Never overwrites a file, also if somebody else creates one meanwhile.

    Raises:
        CommandError: as ``check_free``.
        OSError: a file cannot be written; those that were written before it are removed again.
    """
    check_free(folder, files)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            with (folder / file).open("x", encoding="utf-8") as stream:
                written.append(folder / file)
                stream.write(text)
    except OSError:
        for path in written:
            path.unlink()
        raise
