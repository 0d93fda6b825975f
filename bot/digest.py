"""What a week was like in a community, for its moderators, in their language: counts, and what was learnt.

Read from `feedback.statistics` and the record of runs. Of the questions only open gaps are named, a few of
them shortened: moderators cannot answer what they do not read. Leaves to others: when it is due, and where it
is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot import texts
from feedback import review, statistics
from feedback.statistics import Counts
from feedback.tables import Adapter, Deployment, Run
from feedback.words import Language
from training.adapters import deployments, registry

WEEK: Final = timedelta(days=7)
MOST_GAPS: Final = 5
"""Open gaps that are named; the review queue has all."""
GAP_CHARACTERS: Final = 120
"""Of each."""
_MARKUP: Final = re.compile(r"([\\`*_~|<>\[\]()#])")


@dataclass(frozen=True)
class Digest:
    """A week's figures. `promoted` and `rejected` are runs' adapters, `withdrawn` what rules took back.

    `gaps` are questions of the week that nothing known answered and that still wait for a moderator.
    """

    week: Counts
    waiting: int
    serving: str
    promoted: tuple[str, ...]
    rejected: tuple[str, ...]
    withdrawn: tuple[str, ...]
    gaps: tuple[str, ...] = ()


async def digest(session: AsyncSession, community_id: int, moment: datetime) -> Digest:
    """The week before that moment."""
    since = moment - WEEK
    serving = await deployments.serving(session, community_id)
    runs = await session.exec(
        select(Run.state, Adapter)
        .join(Adapter, col(Adapter.run_id) == Run.id)
        .where(col(Run.finished_at) >= since, col(Run.state).in_(("promoted", "rejected")))
        .order_by(col(Run.id))
    )
    ended = [(state, registry.label(adapter)) for state, adapter in runs.all()]
    gone = await session.exec(
        select(Adapter)
        .join(Deployment, col(Deployment.adapter_id) == Adapter.id)
        .where(col(Deployment.until) >= since, Deployment.outcome == "rolled back")
        .where(col(Deployment.community_id).is_(None) | (col(Deployment.community_id) == community_id))
    )
    return Digest(
        week=await statistics.counts(session, community_id=community_id, since=since),
        waiting=(await statistics.counts(session, community_id=community_id)).waiting,
        serving=registry.label(serving) if serving else registry.BASE,
        promoted=tuple(label for state, label in ended if state == "promoted"),
        rejected=tuple(label for state, label in ended if state == "rejected"),
        withdrawn=tuple(registry.label(adapter) for adapter in gone.all()),
        gaps=tuple(await review.open_gaps(session, community_id, since=since)),
    )


def lines(told: Digest, language: Language) -> list[str]:
    """The digest in Markdown, a line for each thing that there is to say."""
    week = told.week
    votes = week.votes_up + week.votes_down
    said = [
        texts.DIGEST_TITLE.say(language),
        texts.DIGEST_QUESTIONS.say(
            language, questions=week.turns, answered=week.answered, failed=week.failed
        ),
    ]
    if votes:
        low, high = statistics.wilson(week.votes_up, votes)
        said.append(
            texts.DIGEST_VOTES.say(
                language,
                votes=votes,
                share=f"{week.votes_up / votes:.0%}",
                low=f"{low:.0%}",
                high=f"{high:.0%}",
            )
        )
    else:
        said.append(texts.DIGEST_NO_VOTES.say(language))
    said.append(
        texts.DIGEST_REVIEWS.say(
            language,
            approved=week.approved + week.edited,
            rejected=week.rejected,
            waiting=told.waiting,
        )
    )
    for text, labels in (
        (texts.DIGEST_PROMOTED, told.promoted),
        (texts.DIGEST_REJECTED, told.rejected),
        (texts.DIGEST_WITHDRAWN, told.withdrawn),
    ):
        if labels:
            said.append(text.say(language, adapters=", ".join(f"**{label}**" for label in labels)))
    if told.gaps:
        said.append(texts.DIGEST_GAPS.say(language, gaps=len(told.gaps)))
        said += [f"- {_in_a_line(question)}" for question in told.gaps[:MOST_GAPS]]
    said.append(texts.DIGEST_SERVES.say(language, adapter=f"**{told.serving}**"))
    return said


def _in_a_line(question: str) -> str:
    """A question that is one line of Markdown, whatever a member wrote."""
    line = " ".join(question.split())
    line = line if len(line) <= GAP_CHARACTERS else f"{line[: GAP_CHARACTERS - 1].rstrip()}…"
    return _MARKUP.sub(r"\\\1", line)
