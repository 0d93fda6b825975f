"""The card of blind rating: what a tap means, whose card it is, and that nothing is kept between taps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.access.actor import Actor
from bot.chat import rating
from bot.chat.button_codes import MOST_BYTES, ButtonCode
from bot.chat.context import ChatContext
from bot.chat.rating import RatingCard
from bot.errors import NotAllowed, NotYourCard
from feedback import rating_results
from feedback.database import Database
from feedback.errors import NotFound
from tests.bot.assembly import Assembly
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.doubles.retrainer import Retrainer
from tests.rounds import open_round

pytestmark = SQLITE
MO = Actor("discord", "mo", "moderator", 1)
ANA = Actor("discord", "ana", "moderator", 1)


@pytest.fixture
async def context(database: Database, chronicle: Chronicle, tmp_path: Path) -> ChatContext:
    """A community with a round of two questions, each answered by base and candidate."""
    turns = [await chronicle.answered(f"Question {number}?") for number in (1, 2)]
    await open_round(database, turns, {"base": "base {turn}", "candidate": "candidate {turn}"})
    assembly = Assembly(database, tmp_path, tmp_path)
    return ChatContext(core=assembly.core, assistant=None, retraining=Retrainer(), library=None)  # type: ignore[arg-type]


async def tap(context: ChatContext, card: RatingCard, score: int, by: Actor = MO) -> RatingCard:
    return await rating.tapped(context, by, card.digits()[score - 1].code, "en")


async def given(context: ChatContext) -> dict[str, tuple[float, float, float]]:
    async with context.core.database.session(read_only=True) as session:
        found = await rating_results.find(session)
    assert found is not None
    return {
        subject: (by["accuracy"].mean, by["style"].mean, by["safety"].mean)
        for subject, by in found.figures.items()
    }


async def test_three_taps_an_answer_rate_a_question_and_the_next_one_comes(context: ChatContext) -> None:
    card = await rating.next_card(context, MO, "en")
    assert card.asked is not None and "is it right?" in card.prompt("en") and "**A**" in card.prompt("en")
    first, wanted = card.asked, {"base": (2, 3, 4), "candidate": (5, 4, 5)}
    for answer in first.answers:
        for score in wanted[answer.split()[0]]:
            card = await tap(context, card, score)
    assert card.said == "Rated." and card.asked is not None and card.asked.question_id != first.question_id
    assert await given(context) == wanted


async def test_back_undoes_a_tap_and_undo_the_whole_question(context: ChatContext) -> None:
    first = await rating.next_card(context, MO, "en")
    once = await tap(context, first, 1)
    back = await rating.tapped(context, MO, once.others("en")[0].code, "en")
    assert back.given == "" and back.asked == first.asked
    card = first
    for _ in range(6):
        card = await tap(context, card, 3)
    undo = next(button for button in card.others("en") if button.label == "Undo")
    again = await rating.tapped(context, MO, undo.code, "en")
    assert again.asked is not None and first.asked is not None
    assert again.asked.question_id == first.asked.question_id and again.asked.rated == 0


async def test_what_is_passed_over_comes_again(context: ChatContext) -> None:
    first = await rating.next_card(context, MO, "en")
    second = await rating.tapped(context, MO, first.others("en")[0].code, "en")
    third = await rating.tapped(context, MO, second.others("en")[0].code, "en")
    assert first.asked and second.asked and third.asked
    assert first.asked.question_id == third.asked.question_id != second.asked.question_id


async def test_nobody_taps_on_somebody_elses_card(context: ChatContext) -> None:
    card = await rating.next_card(context, MO, "en")
    with pytest.raises(NotYourCard):
        await tap(context, card, 5, by=ANA)


async def test_a_code_that_holds_no_scores_rates_nothing(context: ChatContext) -> None:
    card = await rating.next_card(context, MO, "en")
    assert card.asked is not None
    for wrong in ("999999", "abcdef", "111-11"):
        with pytest.raises(NotFound):
            code = ButtonCode("rate", card.asked.question_id, f"{card.mark}.{wrong}")
            await rating.tapped(context, MO, code, "en")


async def test_a_member_rates_nothing(context: ChatContext) -> None:
    with pytest.raises(NotAllowed):
        await rating.next_card(context, Actor("discord", "ben", "member", 1), "en")


async def test_the_longest_code_fits_a_button(context: ChatContext) -> None:
    card = await rating.next_card(context, MO, "en")
    assert card.asked is not None
    longest = ButtonCode("rate", 10**17, f"{card.mark}.{'5' * 9}")
    assert len(str(longest).encode()) <= MOST_BYTES


async def test_a_long_answer_is_shortened_and_the_card_says_where_it_is_whole(context: ChatContext) -> None:
    card = await rating.next_card(context, MO, "en")
    assert card.asked is not None
    long = RatingCard("", replace(card.asked, answers=("x" * 3000, "short")), mark=card.mark)
    parts = dict(long.sections("en"))
    assert parts["Answer A"].endswith("(shortened; the console shows it whole)")
    assert len(parts["Answer A"]) < 1100 and parts["Answer B"] == "short"


async def test_with_everything_rated_the_card_says_so_and_may_be_undone(context: ChatContext) -> None:
    card = await rating.next_card(context, MO, "pl")
    while card.asked is not None:
        card = await tap(context, card, 4)
    assert "There is nothing left for you to rate" in card.said
    assert [button.code.action for button in card.others("en")] == ["unrate"]
