"""What a week was like in a community, for its moderators, in their language: counts, gaps, what was learnt.

Read from `feedback.statistics`, the review queue and the record of runs. Questions and answers in it are this
community's own, for nobody but its moderators. Leaves to others: when it is due, and where it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot import texts
from feedback import review, statistics
from feedback.statistics import Counts
from feedback.tables import Adapter, Deployment, Evaluation, Run
from feedback.words import Language
from training.adapters import deployments, registry
from training.examination import reasons
from training.examination.reasons import Reason

WEEK: Final = timedelta(days=7)
_MARKUP: Final = re.compile(r"([\\`*_~|<>\[\]()#])")
MOST_GAPS: Final = 3
MOST_TEXT: Final = 160
"""Characters shown of a question, an answer or a reason."""
_BASE: Final = "base"


@dataclass(frozen=True)
class Gap:
    """A question that nothing in the community's knowledge answered."""

    turn_id: int
    question: str


@dataclass(frozen=True)
class Example:
    """A held-out question of this community, answered before and by the new adapter."""

    question: str
    before: str
    now: str


@dataclass(frozen=True)
class Digest:
    """A week's figures. `promoted` and `rejected` are runs' adapters, `withdrawn` what rules took back.

    `refused` says of each rejected one why, by label. `gaps` are the newest of `gap_count`. `examples` are of
    the adapter promoted last: where it came nearest to the approved answer, and where it moved furthest away.
    """

    week: Counts
    waiting: int
    serving: str
    promoted: tuple[str, ...]
    rejected: tuple[str, ...]
    withdrawn: tuple[str, ...]
    refused: Mapping[str, Reason] = field(default_factory=dict)
    gap_count: int = 0
    gaps: tuple[Gap, ...] = ()
    examples: tuple[Example, ...] = ()


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
    ended = list(runs.all())
    promoted = [adapter for state, adapter in ended if state == "promoted"]
    rejected = [adapter for state, adapter in ended if state == "rejected"]
    gaps = await review.open_gaps(session, community_id, since=since)
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
        promoted=tuple(map(registry.label, promoted)),
        rejected=tuple(map(registry.label, rejected)),
        withdrawn=tuple(registry.label(adapter) for adapter in gone.all()),
        refused={
            registry.label(adapter): reasons.kept(adapter.metrics["reasons"])[0]
            for adapter in rejected
            if adapter.metrics.get("reasons")
        },
        gap_count=len(gaps),
        gaps=tuple(Gap(turn.id or 0, turn.question) for turn in gaps[:MOST_GAPS]),
        examples=await _examples(session, promoted[-1], community_id) if promoted else (),
    )


async def _examples(session: AsyncSession, adapter: Adapter, community_id: int) -> tuple[Example, ...]:
    """The held-out questions of that community where the adapter gained most and least, by loss."""
    rows = await session.exec(select(Evaluation).where(Evaluation.run_id == adapter.run_id))
    answers = {row.subject: row.answers for row in rows.all()}
    before = {
        one["turn"]: one
        for one in answers.get("current") or answers.get(_BASE, [])
        if one.get("turn") and one.get("community") == community_id and one["kind"] == "held-out"
    }
    changed = sorted(
        (one["loss"] - before[one["turn"]]["loss"], one["turn"], one)
        for one in answers.get("candidate", [])
        if one.get("turn") in before
        and one["answer"] != before[one["turn"]]["answer"]
        and None not in (one["loss"], before[one["turn"]]["loss"])
        and one["question"]  # erased ones have none
    )
    return tuple(
        Example(one["question"], before[turn]["answer"], one["answer"])
        for _, turn, one in ([changed[0], changed[-1]] if len(changed) > 1 else changed)
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
            said.append(
                text.say(
                    language, adapters=", ".join(_named(label, told.refused, language) for label in labels)
                )
            )
    said.append(texts.DIGEST_SERVES.say(language, adapter=f"**{told.serving}**"))
    if told.gaps:
        said.append(texts.DIGEST_GAPS.say(language, gaps=told.gap_count))
        said += [f"- {shortened(gap.question)}" for gap in told.gaps]
    if told.examples:
        said.append(texts.DIGEST_EXAMPLES.say(language, adapter=f"**{told.promoted[-1]}**"))
        for example in told.examples:
            said.append(f"- {shortened(example.question)}")
            said.append(texts.DIGEST_BEFORE.say(language, answer=shortened(example.before)))
            said.append(texts.DIGEST_NOW.say(language, answer=shortened(example.now)))
    return said


def shortened(text: str, most: int = MOST_TEXT) -> str:
    """The beginning of a text as one line of Markdown, whatever stands in it."""
    line = " ".join(text.split())
    line = line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
    return _MARKUP.sub(r"\\\1", line)


def _named(label: str, refused: Mapping[str, Reason], language: Language) -> str:
    why = refused.get(label)
    return f"**{label}** ({shortened(why.say(language))})" if why else f"**{label}**"
