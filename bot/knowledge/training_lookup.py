"""What training and examination have of knowledge: a question's passages, as when answering, and vectors.

`TrainingLookup` is a `training.data.retrieval.Lookup`, its `embed` an `Embed` by the same models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from bot.errors import EmbeddingFailed
from bot.knowledge.embedding import Embedder, Vectors
from bot.knowledge.knowledge import Knowledge, note_of
from training.data.retrieval import Embed, FoundPassage

log = structlog.get_logger(__name__)


class TrainingLookup:
    """Retrieves for datasets, as many passages as prompts have. Indexes whatever waits before it begins."""

    def __init__(self, knowledge: Knowledge, passages: int) -> None:
        self._knowledge = knowledge
        self._passages = passages
        self._indexed = False

    @property
    def embed(self) -> Embed | None:
        """What tells which texts mean the same; None where words alone are searched."""
        embedder = self._knowledge.embedder
        return partial(meaning, embedder) if embedder is not None else None

    async def __call__(
        self,
        community_id: int,
        question: str,
        language: str,
        *,
        shows: Callable[[int], bool],
        most: int | None = None,
    ) -> list[FoundPassage]:
        """The passages as notes, best first. Raises DatabaseError, EmbeddingFailed."""
        if not self._indexed:
            await self._knowledge.index()
            self._indexed = True
        found = await self._knowledge.retrieve(
            community_id, question, language, limit=most or self._passages, shows=shows
        )
        return [
            FoundPassage(
                passage=source.passage_id,
                content_hash=source.content_hash,
                title=note_of(source).title,
                text=note_of(source).text,
                language=source.language,
                turn=source.turn_id,
            )
            for source in found
        ]


def meaning(embedder: Embedder, texts: Sequence[str]) -> Vectors | None:
    """Vectors for an examination; None where their server fails, since no verdict needs them."""
    try:
        return embedder.passages(texts)
    except EmbeddingFailed as error:
        log.warning("no vectors for the examination", reason=str(error))
        return None
