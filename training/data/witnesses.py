"""What the record itself holds against approved answers: documents, votes, and what was approved before.

Answers that are wrong in one consistent way, each in all its wordings and approved so, cannot be told from
right ones by the pairs. Documents can tell where they have the answers: an honest answer stands in what
retrieval gives its own question, and one that was moved to another question stands in what that other one is
given. Votes can tell where members voted on what was approved. Earlier approved answers can tell where the
same questions had some: hygiene leaves both out (`contradictions`), and here they are counted. What is found
holds an adapter (`training.run.steps`); which side is right is for a person.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import statistics
from feedback.tables import Dataset, Member, Pair, Turn, Vote
from training.data.candidates import Candidate
from training.data.retrieval import Lookup
from training.data.similar_texts import Vocabulary, tokens

LEAST: Final = 20
"""Answers that documents say, or that members voted on, from which on they are heard."""
SAID: Final = 0.6
"""Share of an answer's words of content that a passage has which says it; of several the one with most."""
DISTINCTIVE: Final = 0.2
"""Largest share of the questions whose passages say an answer as well, for it to tell anything."""
PASSAGES: Final = 3
"""Passages that each question is given, however few go into a prompt."""
MOST_ASKED: Final = 200
"""Questions that are looked up in the documents, chosen by their hash."""
SURELY: Final = 2.0
"""Standard deviations above luck from which on answers belong to their questions."""
CONTRADICTED: Final = 0.1
"""Share of the approved pairs that contradict others, from which on all are doubted."""
MOST_OF_ONE_MEMBER: Final = 5
"""Votes of one member that count: four members at least are needed to be heard."""


async def documents(candidates: Sequence[Candidate], lookup: Lookup) -> dict[str, Any]:
    """How many answers the documents say, to whichever question, and how many of these to their `own`.

    `luck` is for how many they would if the answers had been dealt out at random, `against` whether it is
    hardly more. Passages are compared within a community and language.
    """
    chosen = sorted(candidates, key=lambda one: hashlib.sha256(f"documents {one.turn}".encode()).digest())
    vocabulary = Vocabulary()
    asked: dict[tuple[Any, str], list[tuple[set[int], list[set[int]]]]] = {}
    for candidate in chosen[:MOST_ASKED]:
        pair = candidate.pair
        community = int((pair.lineage or {})["community"])
        found = await lookup(
            community, pair.instruction, pair.language, shows=lambda turn: False, most=PASSAGES
        )
        passages = [tokens(f"{one.title}\n{one.text}", vocabulary) for one in found]
        asked.setdefault((community, pair.language), []).append((tokens(pair.output, vocabulary), passages))
    said, own, luck, spread = 0, 0, 0.0, 0.0
    for alike in asked.values():
        for place, (answer, _) in enumerate(alike):
            shares = [_most_of(answer, passages) for _, passages in alike]
            most = max(shares)
            says = [share == most for share in shares]
            chance = (sum(says) - says[place]) / max(1, len(says) - 1)
            if most >= SAID and chance <= DISTINCTIVE:
                said, own, luck = said + 1, own + says[place], luck + chance
                spread += chance * (1 - chance)
    against = said >= LEAST and own <= luck + SURELY * math.sqrt(spread)
    return {"said": said, "own": own, "luck": round(luck, 1), "against": against}


def _most_of(answer: set[int], passages: Sequence[set[int]]) -> float:
    """The largest share of an answer's words that one of the passages has."""
    return max((len(answer & passage) / len(answer) for passage in passages), default=0.0)


async def votes(session: AsyncSession, dataset_id: int) -> dict[str, Any]:
    """How many answers of a dataset, approved as they were, have votes, and how many more against than for.

    Asked when it is judged, for votes come and go while a dataset stays. `against` is whether surely most of
    those that are not evenly judged are voted down. Votes of members who opted out do not count, and of one
    member few.
    """
    rows = await session.exec(
        select(Vote.turn_id, Vote.member_id, Vote.value)
        .join(Turn, col(Turn.id) == Vote.turn_id)
        .join(Member, col(Member.id) == Vote.member_id)
        .where(
            col(Turn.id).in_(select(Pair.turn_id).where(Pair.dataset_id == dataset_id)),
            Turn.review_state == "approved",
            col(Member.opted_out).is_(False),
        )
        .order_by(col(Vote.id))
    )
    of_member, scores = Counter[int](), Counter[int]()
    for turn_id, member_id, value in rows:
        of_member[member_id] += 1
        if of_member[member_id] <= MOST_OF_ONE_MEMBER:
            scores[turn_id] += value
    down, up = (sum(sign * score > 0 for score in scores.values()) for sign in (-1, 1))
    judged = up + down
    against = judged >= LEAST and statistics.wilson(down, judged)[0] > 0.5
    return {"voted": judged, "down": down, "against": against}


def earlier(contradictions: Sequence[Sequence[int]], pairs: int) -> dict[str, Any]:
    """How many of the approved pairs contradict others to the same question, by the groups of their turns.

    These are not trained on. `against` is whether they are so many that the others may be mixed up, too.
    """
    contradicted = len({turn for turns in contradictions for turn in turns})
    return {
        "contradicted": contradicted,
        "pairs": pairs,
        "against": contradicted >= max(LEAST, CONTRADICTED * pairs),
    }


async def against(session: AsyncSession, dataset: Dataset) -> dict[str, Mapping[str, Any]]:
    """The witnesses that hold an adapter trained on a dataset, by name."""
    heard = {**dataset.manifest.get("witnesses", {}), "votes": await votes(session, dataset.id or 0)}
    return {name: found for name, found in heard.items() if found["against"]}
