"""What retrieval gives the pairs of a dataset: the same passages in the same words as when answering."""

from __future__ import annotations

from collections.abc import Callable

from bot.knowledge.knowledge import Knowledge, note_of
from training.data.retrieval import FoundPassage


class TrainingLookup:
    """Retrieves for datasets; a `training.data.retrieval.Lookup`. Indexes whatever waits before it begins."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._indexed = False

    async def __call__(
        self, community_id: int, question: str, language: str, *, shows: Callable[[int], bool]
    ) -> list[FoundPassage]:
        """The passages as notes, best first. Raises DatabaseError, EmbeddingFailed."""
        if not self._indexed:
            await self._knowledge.index()
            self._indexed = True
        found = await self._knowledge.retrieve(community_id, question, language, shows=shows)
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
