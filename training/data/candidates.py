"""What the record holds for a dataset: every approved turn that the filter lets through, as a pair to be.

Leaves to others: what is wrong with a pair (`hygiene`), and where it goes (`splits`). Quarantined approvals
(`feedback.trust`) do not count here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import conversations, review, trust
from feedback.conversations import Spoken
from feedback.errors import UsageError
from feedback.tables import Community
from feedback.words import LANGUAGES, MODES, TASK_TYPES, Mode
from training.data import exceptions, task_types
from training.data.pairs import TrainingPair
from training.model import personas
from training.model.reasoning import answer_of
from training.settings import AdapterSettings, TrainingSettings

NO_HISTORY = "[]"
NO_NOTES = "[]"


@dataclass(frozen=True)
class DatasetFilter:
    """Which pairs a dataset is of; an empty field lets everything through.

    `communities` are written `platform:id` (the platform's own id) or as the community's number; `personas`
    are packaged ones' names or their own texts, as communities have them.
    """

    communities: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    task_types: tuple[str, ...] = ()
    personas: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("languages", LANGUAGES), ("task_types", TASK_TYPES), ("modes", MODES)):
            for value in getattr(self, name):
                if value not in allowed:
                    raise UsageError(
                        f"The dataset filter's {name} name {value!r}, which there is not.",
                        f"Use {', '.join(allowed)}.",
                    )

    @classmethod
    def of(cls, adapter: AdapterSettings) -> DatasetFilter:
        """What a named adapter learns."""
        return cls(
            adapter.communities, adapter.languages, adapter.task_types, adapter.personas, adapter.modes
        )

    def described(self) -> dict[str, list[str]]:
        """What is filtered by, for a manifest: the fields that are not empty."""
        return {name: sorted(values) for name, values in asdict(self).items() if values}

    def lets_through(self, pair: TrainingPair, persona: str, mode: str) -> bool:
        """Whether a pair belongs in; communities are looked at where they are read."""
        return all(
            not wanted or value in wanted
            for wanted, value in (
                (self.languages, pair.language),
                (self.task_types, pair.task_type),
                (self.personas, persona),
                (self.modes, mode),
            )
        )


@dataclass(slots=True)
class Candidate:
    """A pair on its way into a split, with the turns said before it, oldest first.

    `exempt` are the hygiene rules that a person overruled for it.
    """

    pair: TrainingPair
    turn: int
    review: int
    conversation: int
    member: int | None
    held_out: bool
    history: tuple[Spoken, ...] = ()
    exempt: frozenset[str] = frozenset()

    @property
    def question(self) -> str:
        """What is asked, without regard to case and spacing."""
        return plain(f"{self.pair.instruction}\n{self.pair.input}")

    @property
    def question_in_context(self) -> str:
        """What is asked after what: "Why?" is not the same question everywhere."""
        return f"{self.history[-1].question}\n{self.question}" if self.history else self.question

    def is_empty(self) -> bool:
        """Whether there is nothing to ask or nothing to learn."""
        return not self.pair.instruction.strip() or not self.pair.output.strip()


@dataclass(frozen=True)
class Gathered:
    """The candidates by turn, and the approvals that are quarantined until the operator decides."""

    candidates: list[Candidate] = field(default_factory=list)
    quarantined: list[trust.Quarantined] = field(default_factory=list)


def plain(text: str) -> str:
    """A text without regard to case and spacing."""
    return " ".join(text.casefold().split())


async def gather(
    session: AsyncSession, settings: TrainingSettings, default_persona: str, only: DatasetFilter
) -> Gathered:
    """Every approved turn that `only` lets through. Raises UsageError for a community that there is not."""
    chosen = await communities(session, only.communities)
    quarantined = await trust.quarantined(session, settings.held_burst)
    not_counted = {review_id for one in quarantined for review_id in one.reviews}
    approvals = await conversations.approvals(session)
    labelled = await review.turns_labelled(session)
    exempt = await exceptions.by_turn(session)
    candidates = []
    async for conversation in conversations.with_something_approved(session):
        community = chosen.get(conversation[0].community)
        if community is None:
            continue
        persona = community.persona or default_persona
        for position, spoken in enumerate(conversation):
            if not spoken.approved or approvals[spoken.turn].review in not_counted:
                continue
            pair = _pair(spoken, approvals[spoken.turn].review, persona, spoken.turn in labelled)
            if only.lets_through(pair, persona, spoken.mode):
                history = conversations.earlier(conversation, position, settings.history_turns)
                candidates.append(
                    Candidate(
                        pair,
                        spoken.turn,
                        approvals[spoken.turn].review,
                        spoken.conversation,
                        spoken.member,
                        spoken.held_out,
                        tuple(said._replace(answer=answer_of(said.answer)) for said in history),
                        exempt.get(spoken.turn, frozenset()),
                    )
                )
    candidates.sort(key=lambda candidate: candidate.turn)
    return Gathered(candidates, quarantined)


def mode_of(name: Any) -> Mode:
    """The mode of that name; the default one where there is none."""
    return cast(Mode, name) if name in MODES else "default"


def _pair(spoken: Spoken, review_id: int, persona: str, labelled: bool) -> TrainingPair:
    """The pair of an approved turn, its task type guessed where nobody gave one."""
    task_type = spoken.task_type
    if not task_types.is_said(task_type, labelled=labelled):
        question = personas.question_text(spoken.question, spoken.input)
        task_type = task_types.of_pair(question, spoken.answer, mode_of(spoken.mode))
    return TrainingPair(
        instruction=spoken.question,
        input=spoken.input,
        output=answer_of(spoken.answer),
        task_type=task_type,
        language=spoken.language,
        lineage={
            "turn": spoken.turn,
            "review": review_id,
            "conversation": spoken.conversation,
            "community": spoken.community,
            "persona": persona,
            "mode": spoken.mode,
            "history": NO_HISTORY,
            "notes": NO_NOTES,
        },
    )


async def communities(session: AsyncSession, named: Sequence[str]) -> dict[int, Community]:
    """The communities of a filter by their numbers; all when it names none. Raises UsageError."""
    rows = (await session.exec(select(Community).order_by(col(Community.id)))).all()
    if not named:
        return {row.id or 0: row for row in rows}
    by_name = {f"{row.platform}:{row.external_id}": row for row in rows} | {str(row.id): row for row in rows}
    unknown = [name for name in named if name not in by_name]
    if unknown:
        there = ", ".join(f"{row.platform}:{row.external_id}" for row in rows)
        raise UsageError(
            f"The dataset filter names the community {unknown[0]!r}, which has not been seen yet.",
            f"Write its number or platform:id. There are: {there or 'none yet'}.",
        )
    return {by_name[name].id or 0: by_name[name] for name in named}
