"""What members see when they ask."""

from __future__ import annotations

from tests.bot.platforms.discord.conftest import Town


async def test_a_mention_is_answered_under_the_question(town: Town) -> None:
    question = await town.ask("When do I plant tomatoes?")

    (answer,) = town.answers()
    (turn,) = await town.turns()
    assert answer.reference is not None and answer.reference.message_id == question.id
    assert answer.content == turn.answer.strip()
    assert turn.question == "When do I plant tomatoes?"
    assert turn.state == "answered"


async def test_the_answer_grows_before_the_members_eyes_with_a_button_that_stops(town: Town) -> None:
    town.hold()
    await town.ask("When do I plant tomatoes?")

    (growing,) = town.answers()
    assert growing.content
    assert [item.label for item in growing.components[0].children] == ["Stop"]

    await town.release()
    (answer,) = town.answers()
    assert answer.content.startswith(growing.content)
    assert len(answer.content) > len(growing.content)
    assert [str(item.emoji) for item in answer.components[0].children] == ["👍", "👎", "🔄"]


async def test_stop_keeps_what_was_said_and_ends_the_work(town: Town) -> None:
    town.hold()
    await town.ask("When do I plant tomatoes?")
    (growing,) = town.answers()

    refused = await town.ben.click(growing, label="Stop")
    assert refused.response is not None and "Only the person who asked" in refused.response.content

    await town.ada.click(growing, label="Stop")
    (stopped,) = town.answers()
    (turn,) = await town.turns()
    assert stopped.content.startswith(growing.content)
    assert stopped.content.endswith("Stopped.")
    assert turn.state == "cancelled"


async def test_a_thumb_votes_changes_and_is_taken_back(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    (answer,) = town.answers()
    up, down, _ = (item.custom_id for item in answer.components[0].children)

    kept = await town.ben.click(answer, custom_id=up)
    assert kept.ephemeral and kept.response is not None and kept.response.content == "Noted, thank you."
    assert await town.votes() == [(1, "", "")]

    shown = await town.ben.click(answer, custom_id=down)
    assert await town.votes() == [(-1, "", "")], "the vote counts before its form is sent"
    await town.ben.submit_modal(shown, {"reason": ["wrong facts"], "better": "In May."})
    assert await town.votes() == [(-1, "wrong facts", "In May.")]

    await town.ben.click(answer, custom_id=down)
    assert await town.votes() == []
