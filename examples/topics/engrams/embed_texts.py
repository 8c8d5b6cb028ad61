"""Embed texts: a vector for each, saved as one NumPy file."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import minilm
import numpy as np

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    texts: Path


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    texts = [json.loads(line)["text"] for line in inputs.texts.read_text(encoding="utf-8").splitlines()]
    began = time.monotonic()
    vectors = minilm.MiniLm(minilm.model_folder()).embed(texts)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "vectors.npy"
        np.save(file, vectors)
        saved = ctx.artifacts.save(file)
    ctx.logger.info("embedded", extra={"texts": len(texts), "seconds": round(time.monotonic() - began, 1)})
    return {"vectors": saved, "texts": len(texts), "dimensions": int(vectors.shape[1])}


if __name__ == "__main__":
    main.run()
