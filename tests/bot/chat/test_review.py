"""Cards of the moderators' review: how long a turn belongs to who sees it, and what comes of two cards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.access.actor import Actor
from bot.chat import review
from bot.chat.context import ChatContext
from bot.service import open_assistant
from bot.settings import load_settings
from bot.texts import describe_error
from feedback.errors import AlreadyClaimed, AlreadyDecided
from feedback.tables import now
from tests.chronicle import ANSWER, Chronicle
from tests.conftest import SQLITE
from tests.doubles.retrainer import Retrainer
from tests.doubles.tiny_model import write_tiny_model

MOD = Actor("telegram", "mo", role="operator")
OTHER = Actor("telegram", "flo", role="operator")


@pytest.fixture
async def context(chronicle: Chronicle, tmp_path: Path) -> AsyncIterator[ChatContext]:
    """A service whose turns belong to their moderator for seven minutes."""
    settings = load_settings(
        data=tmp_path / "data",
        model=str(write_tiny_model(tmp_path / "tiny")),
        record={"claim_minutes": 7},
    )
    async with open_assistant(settings, chronicle.database) as (core, assistant):
        yield ChatContext(core=core, assistant=assistant, retraining=Retrainer())


@SQLITE
async def test_a_turn_belongs_to_who_sees_its_card_for_as_long_as_the_settings_say(
    chronicle: Chronicle, context: ChatContext
) -> None:
    await chronicle.answered()
    other = await chronicle.answered()
    before = now()
    shown = [await review.next_card(context, MOD, "en"), await review.card_of(context, OTHER, other)]
    after = now()
    for card in shown:
        until = (await chronicle.turn(card.turn_id or 0)).claimed_until
        assert until is not None and before <= until - timedelta(minutes=7) <= after


@SQLITE
async def test_of_two_cards_of_one_moderator_the_later_decision_is_told_and_replaces_nothing(
    chronicle: Chronicle, context: ChatContext
) -> None:
    turn_id = await chronicle.answered()
    await review.decide(context, MOD, "approve", turn_id)
    for decision in ("reject", "edit", "skip"):
        with pytest.raises(AlreadyDecided):
            await review.decide(context, MOD, decision, turn_id, answer="Another one.")
    assert (await chronicle.turn(turn_id)).review_state == "approved"


@SQLITE
async def test_the_card_of_a_question_that_nothing_answered_says_that_it_is_an_open_gap(
    chronicle: Chronicle, context: ChatContext
) -> None:
    turn_id = await chronicle.answered("Who has the key?", answer=replace(ANSWER, answer_kind="gap"))
    card = await review.card_of(context, MOD, turn_id)
    assert card.source("en").startswith("open gap") and card.source("pl").startswith("otwarta luka")


def test_whoever_comes_too_late_is_told_so_in_their_language() -> None:
    decided = AlreadyDecided(7, state="edited", reviewer="console", review_id=3)
    claimed = AlreadyClaimed(7, "console (browser 3f2a1c)")
    assert describe_error(decided, "en").startswith("Answer 7 was already edited by console.")
    assert describe_error(decided, "pl").startswith("Odpowiedź 7 została już poprawiona (console).")
    assert "browser 3f2a1c" in describe_error(claimed, "en") and "Zostaw ją" in describe_error(claimed, "pl")
