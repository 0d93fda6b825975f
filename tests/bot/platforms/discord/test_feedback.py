"""What members do with an answer: thumbs, reasons, reactions, once more, stop."""

from __future__ import annotations

from dataclasses import replace

import discord

from feedback.tables import Turn
from tests.bot.platforms.discord.conftest import Town, said


def buttons(message: discord.Message) -> dict[str, str]:
    """The ids of a message's buttons by their emoji."""
    return {str(item.emoji): item.custom_id for item in message.components[0].children}


async def answered(town: Town) -> discord.Message:
    await town.ask("When do I plant tomatoes?")
    return town.answers()[0]


async def test_stop_keeps_what_was_said_and_ends_the_work(town: Town) -> None:
    town.hold()
    await town.ask("When do I plant tomatoes?")
    (growing,) = town.answers()

    refused = await town.ben.click(growing, label="Stop")
    assert "Only the person who asked" in said(refused)

    await town.ada.click(growing, label="Stop")
    (stopped,) = town.answers()
    (turn,) = await town.turns()
    assert stopped.content.startswith(growing.content)
    assert stopped.content.endswith("Stopped.")
    assert turn.state == "cancelled"


async def test_a_moderator_may_stop_an_answer(town: Town) -> None:
    town.hold()
    await town.ask("When do I plant tomatoes?")
    await town.moderator.click(town.answers()[0], label="Stop")
    assert (await town.turns())[0].state == "cancelled"


async def test_a_thumb_votes_changes_and_is_taken_back(town: Town) -> None:
    answer = await answered(town)
    ids = buttons(answer)

    kept = await town.ben.click(answer, custom_id=ids["👍"])
    assert kept.ephemeral and said(kept) == "Noted, thank you."
    assert await town.votes() == [(1, "", "")]

    shown = await town.ben.click(answer, custom_id=ids["👎"])
    assert await town.votes() == [(-1, "", "")], "the vote counts before its form is sent"
    await town.ben.submit_modal(shown, {"reason": ["wrong facts"], "better": "In May."})
    assert await town.votes() == [(-1, "wrong facts", "In May.")]

    taken = await town.ben.click(answer, custom_id=ids["👎"])
    assert said(taken) == "Your vote is taken back."
    assert await town.votes() == []


async def test_each_member_has_one_vote(town: Town) -> None:
    answer = await answered(town)
    for member in (town.ada, town.ben):
        await member.click(answer, custom_id=buttons(answer)["👍"])
    assert await town.votes() == [(1, "", ""), (1, "", "")]


async def test_a_form_may_be_sent_empty(town: Town) -> None:
    answer = await answered(town)
    shown = await town.ben.click(answer, custom_id=buttons(answer)["👎"])
    await town.ben.submit_modal(shown, {})
    assert await town.votes() == [(-1, "", "")]


async def test_buttons_and_forms_work_after_a_restart(town: Town) -> None:
    answer = await answered(town)
    shown = await town.ben.click(answer, custom_id=buttons(answer)["👎"])
    await town.restart()

    await town.ben.submit_modal(shown, {"reason": ["tone"], "better": "In May."})
    assert await town.votes() == [(-1, "tone", "In May.")]
    await town.ben.click(answer, custom_id=buttons(answer)["👍"])
    assert await town.votes() == [(1, "", "")]


async def test_a_plain_reaction_counts_and_goes_with_the_reaction(town: Town) -> None:
    answer = await answered(town)
    await town.ben.react(answer, "👎🏽")
    assert await town.votes() == [(-1, "", "")]
    await town.ben.unreact(answer, "👎🏽")
    assert await town.votes() == []
    await town.ben.react(answer, "🎉")
    assert await town.votes() == []


async def test_taking_a_reaction_away_leaves_a_later_vote_alone(town: Town) -> None:
    answer = await answered(town)
    await town.ben.react(answer, "👍")
    await town.ben.click(answer, custom_id=buttons(answer)["👎"])
    await town.ben.unreact(answer, "👍")
    assert await town.votes() == [(-1, "", "")]


async def test_a_thumb_that_still_stands_counts_again_when_the_later_one_is_taken_away(town: Town) -> None:
    answer = await answered(town)
    await town.ben.react(answer, "👍🏽")
    await town.ben.react(answer, "👎")
    assert await town.votes() == [(-1, "", "")]
    await town.ben.unreact(answer, "👎")
    assert await town.votes() == [(1, "", "")], "the 👍 is still there for everybody to see"
    await town.ben.unreact(answer, "👍🏽")
    assert await town.votes() == []


async def test_reactions_in_quick_succession_count_in_the_order_in_which_they_came(town: Town) -> None:
    answer = await answered(town)
    for number in range(15):
        member = town.guild.add_member(town.env.create_user(f"member{number}"))
        for thumb, there in ("👍", True), ("👍", False), ("👎", True), ("👎", False), ("👎", True):
            town.env.backend.set_reaction(town.channel.id, answer.id, thumb, member.id, there)
    await town.env.settle()
    assert await town.votes() == [(-1, "", "")] * 15


async def test_a_reaction_on_a_message_of_a_member_is_no_vote(town: Town) -> None:
    question = await town.ask("When do I plant tomatoes?")
    await town.ben.react(question, "👍")
    assert await town.votes() == []


async def test_the_asker_gets_another_answer_and_nobody_else_does(town: Town) -> None:
    answer = await answered(town)
    refused = await town.ben.click(answer, custom_id=buttons(answer)["🔄"])
    assert "Only the person who asked" in said(refused)

    town.answerer.scripts = [["In May, ", "they say."]]
    await town.ada.click(answer, custom_id=buttons(answer)["🔄"])
    first, second = await town.turns()
    assert (second.regenerates_id, second.answer) == (first.id, "In May, they say.")
    assert town.answers()[-1].content == second.answer.strip()
    await town.ben.click(town.answers()[-1], custom_id=buttons(town.answers()[-1])["👍"])
    assert await town.votes() == [(1, "", "")]


async def test_an_answer_that_outlasts_its_time_is_kept_votable_and_goes_on_when_asked_to(town: Town) -> None:
    town.answerer.scripts = [["Plant ", "them ", "in ", "May."]]
    town.hold(after=2)
    await town.ask("When do I plant tomatoes?")
    await town.env.advance_time(town.assistant.options.answer_seconds + 1)
    (turn,) = await town.turns()
    (cut_off,) = town.answers()
    assert (turn.state, turn.answer) == ("answered", "Plant them")
    assert cut_off.content.startswith(turn.answer) and "I ran out of time here." in cut_off.content
    assert list(buttons(cut_off)) == ["👍", "👎", "▶️", "🔄"]

    await town.ben.click(cut_off, custom_id=buttons(cut_off)["👍"])
    assert await town.votes() == [(1, "", "")]
    refused = await town.ben.click(cut_off, custom_id=buttons(cut_off)["▶️"])
    assert "Only the person who asked" in said(refused)

    town.answerer.scripts, town.answerer.hold_after = [["In May, when it is warm."]], None
    await town.ada.click(cut_off, custom_id=buttons(cut_off)["▶️"])
    _, more = await town.turns()
    assert (more.question, more.answer) == ("Go on from where you stopped.", "In May, when it is warm.")
    assert {"role": "assistant", "content": turn.answer} in town.answerer.asked[-1].messages


async def test_an_answer_that_never_began_in_its_time_may_be_asked_for_again(town: Town) -> None:
    town.assistant.options = replace(town.assistant.options, answer_seconds=0.0)
    await town.ask("When do I plant tomatoes?")
    (nothing,) = town.answers()
    assert "tell the operator the reference" in nothing.content and list(buttons(nothing)) == ["🔄"]
    town.assistant.options = replace(town.assistant.options, answer_seconds=60.0)
    await town.ada.click(nothing, custom_id=buttons(nothing)["🔄"])
    assert [turn.state for turn in await town.turns()] == ["failed", "answered"]


async def test_deleting_the_question_erases_every_answer_to_it(town: Town) -> None:
    question = await town.ask("My secret?")
    answer = town.answers()[0]
    await town.ada.click(answer, custom_id=buttons(answer)["🔄"])
    await town.ada.delete(question)
    assert {turn.state for turn in await town.rows(Turn)} == {"erased"}


async def test_a_button_of_a_thumbloop_to_come_is_refused_politely(town: Town) -> None:
    await answered(town)
    old = town.env.backend.create_message(
        town.channel.id,
        town.bot.user.id,
        "An answer",
        components=[
            {
                "type": 1,
                "components": [{"type": 2, "style": 2, "label": "?", "custom_id": "tl1:teleport:1"}],
            }
        ],
    )
    message = next(one for one in town.answers() if one.id == old.id)
    assert said(await town.ben.click(message, label="?")) == "That answer is no longer kept."
