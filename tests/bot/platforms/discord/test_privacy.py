"""What members decide about their words."""

from __future__ import annotations

import json

import discord
import simcord

from feedback.tables import Bookmark, Member
from tests.bot.platforms.discord.conftest import Town, said


async def panel(town: Town) -> simcord.InteractionResult:
    return await town.ada.slash(town.channel, "privacy")


async def test_privacy_says_what_is_kept_and_whether_it_trains(town: Town) -> None:
    assert "Nothing from here trains this bot." in said(await panel(town))
    await town.set(training_allowed=True)
    shown = await panel(town)
    assert shown.ephemeral and "What moderators approve may train this bot." in said(shown)


async def test_a_member_stays_out_of_training_and_comes_in_again(town: Town) -> None:
    shown = await panel(town)
    await town.ada.click(shown.response, label="Stay out of training")
    (member,) = await town.rows(Member)
    assert member.opted_out and "Your words stay out of training." in said(shown)

    await town.ada.click(shown.response, label="Allow training")
    (member,) = await town.rows(Member)
    assert not member.opted_out


async def test_a_member_gets_everything_kept_about_them_as_a_file(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    await town.ask("Not hers?", by=town.ben)
    shown = await panel(town)
    handed = await town.ada.click(shown.response, label="My data")
    assert handed.ephemeral and handed.response is not None
    (file,) = handed.response.attachments
    data = json.loads(await file.read())
    assert [turn["question"] for turn in data["turns"]] == ["When do I plant tomatoes?"]


async def test_who_never_said_anything_is_told_that_nothing_is_kept(town: Town) -> None:
    shown = await panel(town)
    assert said(await town.ada.click(shown.response, label="My data")) == "Nothing about you is kept here."


async def test_forget_me_asks_once_more_and_then_erases_everything(town: Town) -> None:
    await town.ask("My secret?")
    await town.ask("Not hers?", by=town.ben)
    await town.ada.send_dm("Another secret?")
    shown = await panel(town)
    await town.ada.click(shown.response, label="Forget me")
    assert [turn.question for turn in await town.turns()] == ["My secret?", "Not hers?", "Another secret?"]

    await town.ada.click(shown.response, label="Yes, forget me")
    assert [turn.question for turn in await town.turns()] == ["", "Not hers?", ""]
    assert said(shown).startswith("Done: 2 questions with their answers are erased")
    marks = [mark.external_id for mark in await town.rows(Bookmark)]
    assert str(town.ada.user.dm_channel.id) not in marks


async def test_forget_me_can_be_thought_better_of(town: Town) -> None:
    await town.ask("My secret?")
    shown = await panel(town)
    await town.ada.click(shown.response, label="Forget me")
    await town.ada.click(shown.response, label="Cancel")
    assert said(shown) == "Nothing was changed."
    assert (await town.turns())[0].question == "My secret?"


async def test_privacy_buttons_work_in_direct_messages_and_after_a_restart(town: Town) -> None:
    await town.ada.send_dm("My secret?")
    shown = await town.ada.user.slash("privacy")
    await town.restart()
    await town.ada.user.click(shown.response, label="Stay out of training")
    assert (await town.rows(Member))[0].opted_out
    assert isinstance(shown.response.flags, discord.MessageFlags)
