"""Blind rating as a small card: one question with its answers, and a tap for each thing that is asked of it.

What has been tapped so far stands in the buttons' codes and nowhere else, so a card may wait between two
messages and outlives restarts. A code also says whose card it is: everybody meets the answers in an order of
their own, so somebody else's tap would rate the wrong ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.access.actor import Actor
from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.chat.context import ChatContext
from bot.commands import rating
from bot.errors import NotYourCard
from bot.texts import (
    ANSWER_LETTER,
    ANSWER_SHORTENED,
    BACK,
    QUESTION,
    RATE_HOW,
    RATED,
    RATED_ALL,
    RATING_PLACE,
    SCALES,
    SKIP,
    UNDO,
)
from feedback.errors import NotFound
from feedback.ratings import HIGHEST, LOWEST, BlindQuestion, Scores
from feedback.words import RATING_SCALES, Language

LETTERS: Final = "ABC"
MOST_OF_QUESTION: Final = 500
MOST_OF_ANSWER: Final = 1000
"""Characters on a card: a question with three answers fits into one message everywhere."""
_MARK: Final = 8


@dataclass(frozen=True)
class RatingCard:
    """What a rater sees: a line about what was done, the question with its answers, and what is asked now.

    `given` are the digits tapped so far, answer by answer and scale by scale; `mark` is whose card it is.
    `undo` is the question whose ratings may be taken back, 0 for none.
    """

    said: str
    asked: BlindQuestion | None
    given: str = ""
    mark: str = ""
    undo: int = 0

    def sections(self, language: Language) -> list[tuple[str, str]]:
        """The question and its answers, each with its title; long ones are shortened and say so."""
        if self.asked is None:
            return []
        question = "\n\n".join(filter(None, (self.asked.input, self.asked.question)))
        answers = zip(LETTERS, self.asked.answers, strict=False)
        return [
            (QUESTION.say(language), _short(question, MOST_OF_QUESTION, language)),
            *(
                (ANSWER_LETTER.say(language, letter=letter), _short(answer, MOST_OF_ANSWER, language))
                for letter, answer in answers
            ),
        ]

    def prompt(self, language: Language) -> str:
        """Where in the round this is, and what the next tap says."""
        if self.asked is None:
            return ""
        answer, scale = divmod(len(self.given), len(RATING_SCALES))
        place = RATING_PLACE.say(language, place=self.asked.place, of=self.asked.of)
        how = SCALES[RATING_SCALES[scale]].say(language)
        return f"{place} {RATE_HOW.say(language, letter=LETTERS[answer], how=how)}"

    def digits(self) -> list[Button]:
        """A button for each score."""
        if self.asked is None:
            return []
        return [self._button(self.given + str(score), str(score)) for score in range(LOWEST, HIGHEST + 1)]

    def others(self, language: Language) -> list[Button]:
        """Back a tap, pass the question over, and take the last one back."""
        made = []
        if self.asked is not None:
            if self.given:
                made.append(self._button(self.given[:-1], BACK.say(language)))
            else:
                made.append(Button(ButtonCode("pass", self.asked.question_id, self.mark), SKIP.say(language)))
        if self.undo and not self.given:
            made.append(Button(ButtonCode("unrate", self.undo, self.mark), UNDO.say(language)))
        return made

    def _button(self, given: str, label: str) -> Button:
        assert self.asked is not None, "only a card with a question has these buttons"
        return Button(ButtonCode("rate", self.asked.question_id, f"{self.mark}.{given}"), label)


async def next_card(
    context: ChatContext, actor: Actor, language: Language, said: str = "", *, after: int = 0, undo: int = 0
) -> RatingCard:
    """The next question that the actor should rate. Raises NotAllowed."""
    asked = await rating.next_question(context.core.database, actor, after=after)
    if asked is None:
        return RatingCard(f"{said} {RATED_ALL.say(language)}".strip(), None, mark=_mark(actor), undo=undo)
    return RatingCard(said, asked, mark=_mark(actor), undo=undo)


async def tapped(context: ChatContext, actor: Actor, code: ButtonCode, language: Language) -> RatingCard:
    """What the card shows after a tap; the last one of a question records it and goes on to the next.

    Raises NotAllowed, NotYourCard for somebody else's card, and NotFound for a question of a closed round.
    """
    database = context.core.database
    mark, _, given = code.detail.partition(".")
    if mark != _mark(actor):
        raise NotYourCard
    if not re.fullmatch(f"[{LOWEST}-{HIGHEST}]*", given):
        raise NotFound("score", given)
    if code.action == "pass":
        return await next_card(context, actor, language, after=code.turn_id)
    if code.action == "unrate":
        return RatingCard("", await rating.take_back(database, actor, code.turn_id), mark=mark)
    asked = await rating.question(database, actor, code.turn_id)
    if len(given) < len(asked.answers) * len(RATING_SCALES):
        return RatingCard("", asked, given, mark)
    await rating.rate(database, actor, code.turn_id, _scores(given))
    return await next_card(context, actor, language, RATED.say(language), undo=code.turn_id)


def _scores(given: str) -> Sequence[Scores]:
    """The digits as scores, answer by answer."""
    step = len(RATING_SCALES)
    return [Scores(*map(int, given[begin : begin + step])) for begin in range(0, len(given), step)]


def _mark(actor: Actor) -> str:
    return hashlib.sha256(actor.name.encode()).hexdigest()[:_MARK]


def _short(text: str, most: int, language: Language) -> str:
    return text if len(text) <= most else f"{text[:most]}… {ANSWER_SHORTENED.say(language)}"
