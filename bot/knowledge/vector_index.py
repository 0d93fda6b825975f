"""The passages nearest to a question's vector, by exact search over the community's vectors in memory.

The record holds the vectors; what is read of them is kept as it is there, in 16 bits, as a matrix for each
community, and brought up to date before a search by the ids that are newer. Rows of passages that are gone
are given out until the caller says so: whoever reads the passages afterwards misses them, and calls `drop`.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numkong
import numpy as np
from numpy.typing import NDArray
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.knowledge.embedding import Vectors
from feedback.tables import PassageVector

COMMUNITIES: Final = 64
"""Of how many communities vectors are kept in memory; the one asked longest ago gives way."""
BLOCK: Final = 16_384
"""Vectors that lie together in memory, and that are read from the record at once."""
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

    async def catch_up(self, session: AsyncSession, community_id: int, newest: int | None = None) -> None:
        """Read the community's vectors that are new in the record; none where `newest` is known already."""
        async with self._turns:
            matrix = self._matrices.pop(community_id, None) or _Matrix()
            self._matrices[community_id] = matrix
            while len(self._matrices) > COMMUNITIES:
                self._matrices.popitem(last=False)
            while newest is None or newest > matrix.newest:
                newer = (
                    select(PassageVector.id, PassageVector.passage_id, PassageVector.vector)
                    .where(PassageVector.community_id == community_id, col(PassageVector.id) > matrix.newest)
                    .order_by(col(PassageVector.id))
                    .limit(BLOCK)
                )
                rows = [(row[0] or 0, row[1], row[2]) for row in (await session.exec(newer)).all()]
                if rows:
                    await asyncio.to_thread(matrix.append, rows)
                if len(rows) < BLOCK:
                    break

    async def nearest(
        self, community_id: int, asked: Asked, most: int
    ) -> tuple[dict[int, float], dict[int, float]]:
        """At most `most` passages nearest to the turned question, nearest first, with their cosines to it.

        The second answer has their cosines to the question itself. Of a passage with several vectors it is
        the mean. Of what `catch_up` has read.
        """
        async with self._turns:
            matrix = self._matrices.get(community_id)
            if matrix is None or not matrix.used:  # nothing here yet, or nothing left
                return {}, {}
            return await asyncio.to_thread(matrix.nearest, asked, most)

    async def drop(self, community_id: int, passages: Collection[int]) -> None:
        """Forget passages that are no more."""
        async with self._turns:
            if passages and (matrix := self._matrices.get(community_id)):
                await asyncio.to_thread(matrix.drop, passages)


class _Matrix:
    """Vectors of one community, in blocks of shape (BLOCK, dimensions), of whose rows the first `used` count.

    Blocks, so that growing copies nothing; what is not used yet of the last one takes no memory.
    """

    def __init__(self) -> None:
        self.used = 0
        self.newest = 0
        self._blocks: list[NDArray[np.float16]] = []
        self._passages = np.zeros(0, np.int64)
        self._starts = np.zeros(0, np.int64)

    def nearest(self, asked: Asked, most: int) -> tuple[dict[int, float], dict[int, float]]:
        turned = asked.turned.astype(_STORED)[None]
        # NumPy has no product of 16-bit numbers
        of_blocks = [np.asarray(numkong.cdist(turned, block, "dot"))[0] for block in self._blocks]
        cosines = np.concatenate(of_blocks)[: self.used]
        # each passage's mean
        ends = np.append(self._starts[1:], self.used)
        means = np.add.reduceat(cosines, self._starts) / (ends - self._starts)
        best = _largest(means, most)
        passages = self._passages[self._starts[best]].tolist()
        nearness = dict(zip(passages, means[best].tolist(), strict=True))
        if asked.turned is asked.question:
            return nearness, nearness
        plain = (
            float(
                np.mean([self._row(place) @ asked.question for place in range(self._starts[one], ends[one])])
            )
            for one in best
        )
        return nearness, dict(zip(passages, plain, strict=True))

    def append(self, newer: Sequence[tuple[int, int, bytes]]) -> None:
        """Take in rows of the record: ids, passages and vectors, in the order of their ids."""
        vectors = np.frombuffer(b"".join(row[2] for row in newer), _STORED).reshape(len(newer), -1)
        self._add(vectors, np.array([row[1] for row in newer], np.int64))
        self.newest = newer[-1][0]

    def drop(self, passages: Collection[int]) -> None:
        """Leave out the rows of these passages."""
        kept = ~np.isin(self._passages, list(passages))
        ids, blocks = self._passages[kept], self._blocks
        self.used, self._blocks, self._passages = 0, [], np.zeros(0, np.int64)
        done = 0
        while blocks:
            of_block = kept[:BLOCK]
            vectors, kept = blocks.pop(0)[: len(of_block)][of_block], kept[BLOCK:]
            self._add(vectors, ids[done : done + len(vectors)])
            done += len(vectors)

    def _row(self, place: int) -> Vectors:
        block = self._blocks[place // BLOCK]
        return np.asarray(block[place % BLOCK], np.float32)

    def _add(self, vectors: NDArray[np.float16], passages: NDArray[np.int64]) -> None:
        taken = 0
        while taken < len(vectors):
            block, first = divmod(self.used, BLOCK)
            if block == len(self._blocks):
                self._blocks.append(np.zeros((BLOCK, vectors.shape[1]), _STORED))
            count = min(BLOCK - first, len(vectors) - taken)
            self._blocks[block][first : first + count] = vectors[taken : taken + count]
            taken += count
            self.used += count
        self._passages = np.concatenate((self._passages, passages))
        # a passage's rows were written together, so they lie together
        self._starts = np.flatnonzero(np.diff(self._passages, prepend=self._passages[:1] - 1))


def _largest(values: NDArray[np.floating[Any]], most: int) -> NDArray[np.intp]:
    """Places of the largest values, largest first."""
    if len(values) > most:
        among = np.argpartition(-values, most)[:most]
        return among[np.argsort(-values[among], kind="stable")]
    return np.argsort(-values, kind="stable")
