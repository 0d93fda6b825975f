"""The passages nearest to a question's vector, by exact search over the community's vectors in memory.

The record holds the vectors; what is read of them is kept as a matrix for each community and brought up to
date before each search by the ids that are newer. Rows of passages that are gone are given out until the
caller says so: whoever reads the passages afterwards misses them, and calls `drop`.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.knowledge.embedding import Vectors
from feedback.tables import PassageVector

COMMUNITIES: Final = 64
"""Of how many communities vectors are kept in memory; the one asked longest ago gives way."""
_STORED: Final = np.dtype("<f2")


def stored(vector: Vectors) -> bytes:
    """A vector, or a matrix row by row, as the record keeps it."""
    return vector.astype(_STORED).tobytes()


def unpacked(kept: bytes) -> Vectors:
    """A vector that `stored` made."""
    return np.frombuffer(kept, _STORED).astype(np.float32)


def square(kept: bytes) -> Vectors:
    """A square matrix that `stored` made."""
    values = unpacked(kept)
    return values.reshape(math.isqrt(len(values)), -1)


@dataclass(frozen=True)
class Asked:
    """A question's vector as it is, and as what was learnt of its community turns it; both have length 1."""

    question: Vectors
    turned: Vectors


class VectorIndex:
    """The vectors of the communities asked lately."""

    def __init__(self) -> None:
        self._matrices: OrderedDict[int, _Matrix] = OrderedDict()
        self._turns = asyncio.Lock()

    async def search(
        self, session: AsyncSession, community_id: int, asked: Asked, most: int
    ) -> tuple[dict[int, float], dict[int, float]]:
        """At most `most` passages nearest to the turned question, nearest first, and all their cosines to it.

        The second answer has their cosines to the question itself. Of a passage with several vectors it is
        the mean.
        """
        async with self._turns:
            matrix = self._matrices.pop(community_id, None) or _Matrix()
            self._matrices[community_id] = matrix
            while len(self._matrices) > COMMUNITIES:
                self._matrices.popitem(last=False)
            newer = (
                select(PassageVector.id, PassageVector.passage_id, PassageVector.vector)
                .where(PassageVector.community_id == community_id, col(PassageVector.id) > matrix.newest)
                .order_by(col(PassageVector.id))
            )
            rows = [(row[0] or 0, row[1], row[2]) for row in (await session.exec(newer)).all()]
            if not rows and not matrix.used:  # nothing here yet, or nothing left
                return {}, {}
            return await asyncio.to_thread(matrix.nearest, rows, asked, most)

    async def drop(self, community_id: int, passages: Collection[int]) -> None:
        """Forget passages that are no more."""
        async with self._turns:
            if passages and (matrix := self._matrices.get(community_id)):
                await asyncio.to_thread(matrix.drop, passages)


@dataclass
class _Matrix:
    """Vectors of one community: `rows` of shape (capacity, dimensions), of which the first `used` count."""

    rows: Vectors = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    passages: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    used: int = 0
    newest: int = 0

    def nearest(
        self, newer: list[tuple[int, int, bytes]], asked: Asked, most: int
    ) -> tuple[dict[int, float], dict[int, float]]:
        self._append(newer)
        means = self._means(asked.turned)
        best = _largest(means, most)
        plain = means if asked.turned is asked.question else self._means(asked.question)
        passages = self.passages[self.starts[best]].tolist()
        return (
            dict(zip(passages, means[best].tolist(), strict=True)),
            dict(zip(passages, plain[best].tolist(), strict=True)),
        )

    def _means(self, question: Vectors) -> Vectors:
        """Each passage's mean cosine to a question."""
        cosines = self.rows[: self.used] @ question
        means = np.add.reduceat(cosines, self.starts) / np.diff(self.starts, append=self.used)
        return np.asarray(means, dtype=np.float32)

    def drop(self, passages: Collection[int]) -> None:
        kept = ~np.isin(self.passages[: self.used], list(passages))
        self.rows = self.rows[: self.used][kept]
        self.passages = self.passages[: self.used][kept]
        self.used = len(self.passages)
        self._find_starts()

    def _find_starts(self) -> None:
        """Where each passage's rows begin; they were written together, so they lie together."""
        ids = self.passages[: self.used]
        self.starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1))

    def _append(self, newer: list[tuple[int, int, bytes]]) -> None:
        newer = [row for row in newer if row[0] > self.newest]
        if not newer:
            return
        vectors = np.frombuffer(b"".join(row[2] for row in newer), _STORED).reshape(len(newer), -1)
        needed = self.used + len(newer)
        if needed > len(self.rows):
            capacity = max(needed, len(self.rows) * 5 // 4)
            rows = np.zeros((capacity, vectors.shape[1]), np.float32)
            ids = np.zeros(capacity, np.int64)
            if self.used:
                rows[: self.used], ids[: self.used] = self.rows[: self.used], self.passages[: self.used]
            self.rows, self.passages = rows, ids
        self.rows[self.used : needed] = vectors
        self.passages[self.used : needed] = [row[1] for row in newer]
        self.used, self.newest = needed, newer[-1][0]
        self._find_starts()


def _largest(values: NDArray[np.floating[Any]], most: int) -> NDArray[np.intp]:
    """Places of the largest values, largest first."""
    if len(values) > most:
        among = np.argpartition(-values, most)[:most]
        return among[np.argsort(-values[among], kind="stable")]
    return np.argsort(-values, kind="stable")
