"""Draw the texts as points, and write the report: Markdown, and one page with the picture inside."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    topics: Path
    labels: list[dict[str, Any]]
    files: int


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    rows = json.loads(inputs.topics.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        picture, markdown, page = folder / "topics.png", folder / "topics.md", folder / "topics.html"
        draw(rows, inputs.labels, picture)
        markdown.write_text(as_markdown(inputs, len(rows["group"])), encoding="utf-8")
        page.write_text(as_html(inputs, len(rows["group"]), picture.read_bytes()), encoding="utf-8")
        saved = {file.suffix[1:]: ctx.artifacts.save(file) for file in (picture, markdown, page)}
    return {"picture": saved["png"], "report": saved["md"], "page": saved["html"]}


def draw(rows: dict[str, Any], labels: list[dict[str, Any]], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 6.5), layout="constrained")
    for topic, label in enumerate(labels):
        places = [place for place, group in zip(rows["place"], rows["group"], strict=True) if group == topic]
        across, up = zip(*places, strict=True)
        axes.scatter(across, up, s=22, alpha=0.75, label=f"{label['label']} ({label['size']})")
    axes.set_title("Paragraphs by meaning: two principal components of their embeddings")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, frameon=False)
    figure.savefig(file, dpi=110)


def as_markdown(inputs: Inputs, texts: int) -> str:
    lines = ["# Topics", "", f"{texts} paragraphs of {inputs.files} files, in {len(inputs.labels)} topics.", ""]
    lines += ["![topics](topics.png)", "", "| topic | paragraphs | most typical | in |", "|---|---|---|---|"]
    for label in inputs.labels:
        example = label["example"].replace("|", "\\|")
        lines.append(f"| {label['label']} | {label['size']} | {example} | {label['file']} |")
    return "\n".join(lines) + "\n"


def as_html(inputs: Inputs, texts: int, picture: bytes) -> str:
    body = "".join(
        f"<tr><th>{escape(label['label'])}<td>{label['size']}<td>{escape(label['example'])}<td>{escape(label['file'])}"
        for label in inputs.labels
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Topics</title><style>body{font:15px sans-serif;max-width:64em;"
        "margin:2em auto}img{max-width:100%}td,th{padding:.4em .8em;text-align:left;vertical-align:top;border-top:"
        f"1px solid #ccc}}</style><h1>Topics</h1><p>{texts} paragraphs of {inputs.files} files.</p>"
        f'<img alt="topics" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
        f"<table><tr><th>topic<th>paragraphs<th>most typical<th>in{body}</table>"
    )


if __name__ == "__main__":
    main.run()
