"""Split the Markdown files of a folder into paragraphs, and save them as one file."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bubu_sdk import Context, engram

_LEAST_WORDS = 8
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_FENCE = re.compile(r"^```.*?^```\s*?$", re.M | re.S)


@dataclass
class Inputs:
    folder: str


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    folder = Path(inputs.folder)
    files = sorted(folder.glob("*.md"))
    if not files:
        raise ValueError(f"there is no Markdown file in {folder}")
    found = [paragraph for file in files for paragraph in paragraphs(file, folder)]
    with tempfile.TemporaryDirectory() as scratch:
        texts = Path(scratch) / "texts.jsonl"
        texts.write_text("".join(f"{json.dumps(each)}\n" for each in found), encoding="utf-8")
        saved = ctx.artifacts.save(texts)
    ctx.logger.info("read", extra={"files": len(files), "paragraphs": len(found)})
    return {"texts": saved, "files": len(files), "paragraphs": len(found)}


def paragraphs(file: Path, folder: Path) -> Iterator[dict[str, str]]:
    """The paragraphs of text, without code, tables and headings."""
    heading = ""
    for block in re.split(r"\n\s*\n", _FENCE.sub("", file.read_text(encoding="utf-8"))):
        text = " ".join(_LINK.sub(r"\1", block).replace("`", "").replace("**", "").split())
        if text.startswith("#"):
            heading = text.lstrip("# ")
        elif not text.startswith(("|", "<", "---")) and len(text.split()) >= _LEAST_WORDS:
            yield {"file": file.relative_to(folder).as_posix(), "heading": heading, "text": text}


if __name__ == "__main__":
    main.run()
