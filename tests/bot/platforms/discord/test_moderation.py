"""What moderators and administrators do: review, switch and go back, settings, training runs, figures."""

from __future__ import annotations

from bot.assistant import Place
from tests.bot.platforms.discord.conftest import Town, said


async def test_the_settings_panel_starts_with_safe_defaults(town: Town) -> None:
    shown = await town.admin.slash(town.channel, "settings")

    assert shown.ephemeral
    text = said(shown)
    assert "Nothing from here trains the bot." in text
    assert "Adapter: **base**" in text
    assert (await town.community()).own_channels == []


async def test_review_shows_the_question_the_answer_and_the_votes(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    (turn,) = await town.turns()
    await town.assistant.vote(
        place(town), str(town.ben.id), turn.id, -1, reason="tone", suggested_answer="In May."
    )

    shown = await town.moderator.slash(town.channel, "review")

    assert shown.ephemeral
    text = said(shown)
    for part in ("When do I plant tomatoes?", turn.answer.strip(), "👎 1", "tone", "In May."):
        assert part in text


def place(town: Town) -> Place:
    return Place("discord", str(town.guild.id), "", "Gardeners")
