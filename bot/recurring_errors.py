"""Errors that come again and again, grouped by what they are about: "12 edits about “prices” in 7 days".

An error is an answer that moderators edited or rejected, or that members voted down with a reason. Its topic
is a word of the question that errors of that kind have far more often than other questions of the same days:
words are stemmed as for search, so prices and price are one, and what only makes a sentence ("are", "how") is
none. Pure but for `look`, which reads the record.
Leaves to others: what to do about them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, cast

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.knowledge.stems import fold, words_of
from feedback.tables import Member, Turn, Vote
from feedback.words import VoteReason
from training.data.language import FUNCTION_WORDS

Kind = Literal["edited", "rejected"] | VoteReason

DAYS: Final = 7
LEAST_ASKERS: Final = 3
"""People who asked about a topic before it counts: one person's questions are no topic, and a word that only
one of them uses may be a name."""
LIFT: Final = 2.0
"""How many times as frequent among the errors as among all questions the word must be."""
_DECIDED: Final[frozenset[Kind]] = frozenset({"edited", "rejected"})
_NO_TOPIC: Final = frozenset(
    {"how", "why", "when", "where", "who", "jak", "gdzie", "kiedy", "dlaczego", "czemu", "ile", "kto"}
).union(*FUNCTION_WORDS.values())
_SHORTEST: Final = 3
"""Letters of a word that can be a topic."""


@dataclass(frozen=True)
class Asked:
    """A question of these days: who asked it, in which language, and the kinds of errors of its answer."""

    question: str
    language: str
    asker: int | None
    kinds: frozenset[Kind] = frozenset()


@dataclass(frozen=True)
class RecurringError:
    """So many errors of one kind about one topic, as members write it most often."""

    kind: Kind
    topic: str
    number: int


async def look(
    session: AsyncSession, moment: datetime, *, community_ids: Sequence[int] | None = None, least: int
) -> list[RecurringError]:
    """The errors of the week before `moment` that came `least` times at least, the most frequent first.

    Of these communities, or of all. Members who opted out are left out.
    """
    since = moment - timedelta(days=DAYS)
    chosen = [
        col(Turn.asked_at) >= since,
        col(Turn.state) == "answered",
        or_(col(Turn.member_id).is_(None), col(Member.opted_out).is_(False)),
    ]
    if community_ids is not None:
        chosen.append(col(Turn.community_id).in_(community_ids))
    turns = await session.exec(
        select(Turn).outerjoin(Member, col(Member.id) == Turn.member_id).where(*chosen)
    )
    reasons: defaultdict[int, set[Kind]] = defaultdict(set)
    votes = await session.exec(
        select(Vote.turn_id, Vote.reason)
        .join(Turn, col(Turn.id) == Vote.turn_id)
        .where(col(Turn.asked_at) >= since, Vote.value < 0, Vote.reason != "")
    )
    for turn_id, reason in votes.all():
        reasons[turn_id].add(cast(Kind, reason))
    asked = [
        Asked(
            turn.question,
            turn.language,
            turn.member_id,
            frozenset(reasons[turn.id or 0] | (_DECIDED & {cast(Kind, turn.review_state)})),
        )
        for turn in turns.all()
    ]
    return recurring(asked, least=least)


def recurring(asked: Sequence[Asked], *, least: int) -> list[RecurringError]:
    """The kinds of errors that came `least` times at least about one topic, the most frequent first.

    Of each kind the one topic that most of them share.
    """
    words = [
        {
            stem: word
            for stem, word in words_of(one.question, one.language).items()
            if fold(word) not in _NO_TOPIC
        }
        for one in asked
    ]
    usual = Counter(stem for found in words for stem in found)
    every = {kind for one in asked for kind in one.kinds}
    found = (_of_kind(kind, asked, words, usual, least) for kind in sorted(every))
    return sorted(filter(None, found), key=lambda one: -one.number)


def _of_kind(
    kind: Kind,
    asked: Sequence[Asked],
    words: Sequence[dict[str, str]],
    usual: Counter[str],
    least: int,
) -> RecurringError | None:
    wrong = [place for place, one in enumerate(asked) if kind in one.kinds]
    counts = Counter(stem for place in wrong for stem in words[place])
    # of words that come as often, the rarest elsewhere says most
    for stem, number in sorted(counts.items(), key=lambda item: (-item[1], usual[item[0]], item[0])):
        if number < least:
            return None
        askers = {asked[place].asker for place in wrong if stem in words[place]}
        # nearly everything wrong is no topic: then the word is as frequent in all questions
        lift = (number / len(wrong)) / (usual[stem] / len(asked))
        if len(stem) >= _SHORTEST and len(askers) >= LEAST_ASKERS and lift >= LIFT:
            written = Counter(words[place][stem] for place in wrong if stem in words[place])
            return RecurringError(kind, written.most_common(1)[0][0], number)
    return None
