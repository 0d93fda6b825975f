"""Somebody asks on Telegram, and is answered."""

from __future__ import annotations

from tests.bot.platforms.telegram.conftest import ADA, Town
from tests.doubles.telegram_server import labels


async def test_a_private_question_is_answered_as_it_grows_and_can_be_voted_on(town: Town) -> None:
    town.hold()
    town.api.write("When do I plant tomatoes?", by=ADA)
    await town.api.until(lambda: town.api.drafts.get(ADA["id"]))
    town.release()
    answer = await town.api.until(town.answers)
    (turn,) = await town.turns()
    assert labels(answer[0]) == ["👍", "👎", "🔄 Regenerate"]
    assert turn.state == "answered" and turn.answer.strip()

    tapped = town.api.tap(answer[0], "👍", by=ADA)
    assert await town.toast(tapped) == "Noted, thank you."
    assert await town.votes() == [(1, "", "")]
