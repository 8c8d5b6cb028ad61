"""Group vectors into topics: k-means on the unit sphere, from a fixed seed."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bubu_sdk import Context, engram

_ROUNDS = 100
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass
class Inputs:
    vectors: Path
    topics: int = 6
    seed: int = 1


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    vectors: Floats = np.load(inputs.vectors, allow_pickle=False)
    if not 2 <= inputs.topics <= len(vectors):
        raise ValueError(f"topics must be from 2 to the number of texts, {len(vectors)}; it is {inputs.topics}")
    groups, centers = cluster(vectors, inputs.topics, inputs.seed)
    places = flattened(vectors)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "topics.json"
        nearness = (vectors * centers[groups]).sum(axis=1)
        rows = {"group": groups.tolist(), "nearness": nearness.round(4).tolist(), "place": places.round(4).tolist()}
        file.write_text(json.dumps(rows), encoding="utf-8")
        saved = ctx.artifacts.save(file)
    sizes = np.bincount(groups, minlength=inputs.topics).tolist()
    return {"topics": saved, "sizes": sizes}


def cluster(vectors: Floats, topics: int, seed: int) -> tuple[Numbers, Floats]:
    """The group of each vector, largest group first; and the centers."""
    dice = np.random.default_rng(seed)
    centers = vectors[[int(dice.integers(len(vectors)))]]
    while len(centers) < topics:  # k-means++: the next center is likely far from all others
        distance = np.maximum(1 - (vectors @ centers.T).max(axis=1), 0)
        centers = np.vstack([centers, vectors[dice.choice(len(vectors), p=distance / distance.sum())]])
    groups: Numbers = np.full(len(vectors), -1)
    for _ in range(_ROUNDS):
        now = (vectors @ centers.T).argmax(axis=1)
        if np.array_equal(now, groups):
            break
        groups = now
        sums = np.array([vectors[groups == topic].sum(axis=0) for topic in range(topics)])
        centers = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    order = np.argsort(-np.bincount(groups, minlength=topics), kind="stable")
    return np.argsort(order)[groups], centers[order]


def flattened(vectors: Floats) -> Floats:
    """Two coordinates for each vector: its first two principal components."""
    centered = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    places: Floats = centered @ directions[:2].T
    return places


if __name__ == "__main__":
    main.run()
