"""The moderators' review, one card after another: what a card holds, what its buttons do, what comes next.

Platforms render cards; how an edited answer is entered (a form, a reply, an editor) is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.access.actor import Actor
from bot.chat.button_codes import Action, ButtonCode
from bot.chat.buttons import Button
from bot.chat.context import ChatContext
from bot.commands import review as reviews
from bot.commands.review import Decided, QueueEntry
from bot.texts import (
    ALSO_ASKED_AS,
    ANSWER,
    APPROVE,
    BETTER_ANSWERS,
    DECIDED,
    EDIT,
    EVIDENCE,
    FROM_TALK,
    GAP,
    NOTHING_WAITS,
    OTHER_ANSWERS,
    QUESTION,
    REJECT,
    SKIP,
    UNDO,
    VOTES,
    WAITING,
    WHAT_MEMBERS_SAY,
    WHY_PROPOSED,
    Text,
)
from feedback.review import UNDECIDED
from feedback.words import Language

_SUREST: Final = 0.99
"""The highest score that is shown: nothing that was found by rules is certain."""
LABELS: Final[dict[Action, Text]] = {"approve": APPROVE, "edit": EDIT, "reject": REJECT, "skip": SKIP}
"""What a moderator may decide on a card."""


@dataclass(frozen=True)
class Card:
    """What a moderator sees: a line about the last decision and what waits, and the answer to decide on.

    `undo` is the turn whose decision may be taken back; None is none.
    """

    said: str
    entry: QueueEntry | None
    undo: int | None = None

    @property
    def turn_id(self) -> int | None:
        """The turn to decide on; None when nothing waits."""
        return self.entry.turn_id if self.entry else None

    def sections(self, language: Language) -> list[tuple[str, str]]:
        """What there is to read before deciding, each part with its title: question and answer first."""
        if self.entry is None:
            return []
        entry = self.entry
        votes = f"👍 {entry.votes_up}  👎 {entry.votes_down}" if entry.votes_up or entry.votes_down else ""
        found = entry.evidence
        more = [
            (WHY_PROPOSED, ", ".join(reasons_of(entry, language))),
            (ALSO_ASKED_AS, "\n".join(f"• {one}" for one in found.phrasings) if found else ""),
            (OTHER_ANSWERS, "\n".join(f"• {one}" for one in found.answers) if found else ""),
            (VOTES, votes),
            (WHAT_MEMBERS_SAY, ", ".join(entry.reasons)),
            (BETTER_ANSWERS, "\n".join(f"• {one}" for one in entry.suggested_answers)),
        ]
        question = "\n\n".join(filter(None, (entry.input if found else "", entry.question)))
        parts = [(QUESTION, question), (ANSWER, entry.answer), *(part for part in more if part[1])]
        return [(title.say(language), text) for title, text in parts]

    def source(self, language: Language) -> str:
        """Which adapter answered, in which mode and language; of a candidate that it comes from talk.

        Of an open gap that it is one.
        """
        if self.entry is None:
            return ""
        if self.entry.evidence is not None:
            return f"{FROM_TALK.say(language)} · {self.entry.language}"
        if self.entry.answer_kind == "gap":
            return f"{GAP.say(language)} · {self.entry.language}"
        return f"{self.entry.adapter} · {self.entry.mode} · {self.entry.language}"

    def buttons(self, language: Language) -> list[Button]:
        """The decisions, and undoing the last one where there is one."""
        made = []
        if self.turn_id is not None:
            made = [
                Button(ButtonCode(action, self.turn_id), label.say(language))
                for action, label in LABELS.items()
            ]
        if self.undo is not None:
            made.append(Button(ButtonCode("undo", self.undo), UNDO.say(language)))
        return made


def reasons_of(entry: QueueEntry, language: Language) -> list[str]:
    """Why a candidate from talk is proposed, in words, with its score in percent; nothing for other turns."""
    if entry.evidence is None:
        return []
    said = [EVIDENCE[reason].say(language, count=count) for reason, count in entry.evidence.reasons]
    return [f"{min(entry.evidence.score, _SUREST):.0%}", *said]


async def next_card(
    context: ChatContext, actor: Actor, language: Language, said: str = "", *, undo: int | None = None
) -> Card:
    """Claim what this moderator decides on next; `said` stands before how much waits."""
    entry = await reviews.claim_next(context.core.database, actor, claim_for=context.core.claim_for)
    if entry is None:
        return Card(f"{said} {NOTHING_WAITS.say(language)}".strip(), None, undo)
    waiting = (await reviews.queue(context.core.database, actor, limit=1)).waiting
    return Card(f"{said} {WAITING.say(language, waiting=waiting)}".strip(), entry, undo)


async def card_of(
    context: ChatContext, actor: Actor, turn_id: int, said: str = "", *, window: str = ""
) -> Card:
    """Claim one turn. Raises NotFound, and Conflict when it is decided or somebody else's."""
    core = context.core
    entry = await reviews.claim(core.database, turn_id, actor, claim_for=core.claim_for, window=window)
    return Card(said, entry)


async def decide(
    context: ChatContext, actor: Actor, decision: Action, turn_id: int, *, answer: str = "", note: str = ""
) -> Decided | None:
    """Carry out one of the card's buttons; what became of the turn, None for one that was skipped.

    A card shows a turn that waits: a decision made since, by anybody and anywhere, is not replaced.

    `answer` is the better one of an edit, `note` why it is rejected. Raises NotFound, Conflict when another
    moderator decided already or nothing stands to be undone, and UsageError for an empty edit.
    """
    database, burst = context.core.database, context.retraining.settings.held_burst
    match decision:
        case "approve":
            return await reviews.approve(database, turn_id, actor, held_burst=burst, seen=UNDECIDED)
        case "edit":
            return await reviews.edit(database, turn_id, actor, answer, held_burst=burst, seen=UNDECIDED)
        case "reject":
            return await reviews.reject(database, turn_id, actor, note=note, seen=UNDECIDED)
        case "undo":
            return await reviews.undo(database, turn_id, actor)
        case "skip":
            await reviews.skip(database, turn_id, actor)
            return None
    raise ValueError(f"{decision} decides nothing")


async def decide_and_go_on(
    context: ChatContext,
    actor: Actor,
    decision: Action,
    turn_id: int,
    language: Language,
    *,
    answer: str = "",
) -> Card:
    """Carry out a button, and claim what comes next: after an undo the same turn, else the next one.

    Raises as `decide`.
    """
    decided = await decide(context, actor, decision, turn_id, answer=answer)
    said = DECIDED[decision].say(language)
    if decision == "undo":
        return await card_of(context, actor, turn_id, said)
    if decided is None:
        return await next_card(context, actor, language, said)
    return await next_card(context, actor, language, decided.with_caveat(said, language), undo=turn_id)
