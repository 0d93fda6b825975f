"""Every question gets an answer or a reason: restarts, absences, floods, and a Discord that refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import discord
import pytest

from bot.platforms.discord.catch_up import GRACE_S
from bot.questions import Finished, Place, Question
from bot.texts import RECORD_AWAY
from feedback import open_questions, platform_state
from feedback.errors import DatabaseLocked
from feedback.tables import AnswerMessage, OpenQuestion, Turn, now
from tests.bot.platforms.discord.conftest import OPTIONS, Town, said

BOTH = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)


# restarts and absences


@BOTH
async def test_an_answer_cut_off_by_a_restart_is_finished_in_its_own_message(town: Town) -> None:
    town.hold()
    await town.ask("When do I plant tomatoes?")
    (growing,) = town.answers()

    town.answerer.hold_after = None
    await town.restart()

    (answer,) = town.answers()
    (turn,) = await town.turns()
    assert answer.id == growing.id
    assert (turn.state, answer.content) == ("answered", turn.answer.strip())
    assert answer.components, "it can be voted on"


async def test_an_answer_that_was_kept_but_never_shown_is_shown_after_a_restart(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    async with town.database.session() as session:
        for row in await town.rows(AnswerMessage):
            await session.delete(row)
            await open_questions.keep(session, row.turn_id, asker="", shown_in={"channel": town.channel.id})
    town.env.backend.delete_message(town.channel.id, town.answers()[0].id)
    await town.restart()

    (answer,) = town.answers()
    assert answer.content == (await town.turns())[0].answer.strip()
    assert len(town.answerer.asked) == 1, "it is not thought up anew"


async def test_an_answer_that_discord_shows_before_a_kill_is_not_shown_again_by_the_next_start(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = " ".join(f"Water plant {number} twice a week." for number in range(160))
    town.answerer.scripts = [[long]]
    with monkeypatch.context() as killed:
        write_nothing_down_once_shown(town, killed)
        await town.ask("When do I plant tomatoes?")
        await town.env.settle()
    shown = town.answers()
    await town.restart()
    assert [(one.id, one.content) for one in town.answers()] == [(one.id, one.content) for one in shown]
    assert len(shown) == 3 and " ".join(one.content for one in shown) == long
    assert await town.rows(OpenQuestion) == []
    assert {row.external_id for row in await town.rows(AnswerMessage)} == {str(one.id) for one in shown}


async def test_an_answer_to_a_command_that_is_shown_before_a_kill_gets_no_apology(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        write_nothing_down_once_shown(town, killed)
        await town.ada.slash(town.channel, "ask", question="When do I plant tomatoes?")
        await town.env.settle()
    (shown,) = town.answers()
    await town.restart()
    assert [one.content for one in town.answers()] == [shown.content]
    assert [turn.state for turn in await town.turns()] == ["answered"]
    assert await town.rows(OpenQuestion) == []


async def test_who_has_the_answer_is_not_told_that_the_record_failed_and_it_is_noted_later(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_again_after(monkeypatch, 300)
    with monkeypatch.context() as away:
        write_nothing_down_once_shown(town, away, DatabaseLocked)
        await town.ask("When do I plant tomatoes?")
        await town.env.settle()
    assert len(town.answers()) == 1
    async with town.database.session() as session:
        turn = await session.get_one(Turn, (await town.turns())[0].id)
        turn.asked_at = now() - timedelta(seconds=OPTIONS.answer_seconds + GRACE_S + 1)
    await town.env.advance_time(400)
    assert len(town.answers()) == 1
    assert await town.rows(OpenQuestion) == []


@pytest.mark.parametrize("reads", [True, False], ids=["nothing is written", "nothing is read either"])
async def test_who_asks_while_the_record_is_away_is_promised_the_answer_and_gets_it_in_that_message(
    town: Town, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    try_again_after(monkeypatch, 300)
    with monkeypatch.context() as away:
        take_the_record_away(town, away, reads=reads)
        await town.ask("When do I plant tomatoes?")
        await town.env.advance_time(700)
        (promised,) = town.answers()
        assert promised.content == RECORD_AWAY.say("en")
    await town.env.advance_time(300)
    (answer,) = town.answers()
    (turn,) = await town.turns()
    assert (answer.id, answer.content) == (promised.id, turn.answer.strip())


async def test_an_answer_that_ends_while_the_record_is_away_is_shown_once_and_kept_as_it_was_shown(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_again_after(monkeypatch, 300)
    monkeypatch.setattr("bot.turn_record.GIVEN_AFTER_S", 300.0)
    town.hold()
    await town.ask("When do I plant tomatoes?")
    with monkeypatch.context() as away:
        take_the_record_away(town, away, reads=True)
        await town.release()
        await town.env.advance_time(600)
        (shown,) = town.answers()
        assert "👍" in str(shown.components)
    await town.env.advance_time(700)
    (answer,) = town.answers()
    (turn,) = await town.turns()
    assert (answer.content, turn.state) == (turn.answer.strip(), "answered")
    assert await town.rows(OpenQuestion) == []


async def test_a_question_that_waits_for_the_record_is_answered_by_the_next_start(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_again_after(monkeypatch, 300)
    await town.ask("Here I am?")
    with monkeypatch.context() as away:
        take_the_record_away(town, away, reads=True)
        await town.ask("When do I plant tomatoes?")
        await town.env.advance_time(700)
    await town.restart()
    assert [turn.question for turn in await town.turns()] == ["Here I am?", "When do I plant tomatoes?"]
    assert all(turn.state == "answered" for turn in await town.turns())


async def test_what_was_asked_in_our_absence_is_answered_once_on_return(town: Town) -> None:
    await town.ask("Here I am?")
    with deaf(town):
        town.write(f"{town.mention} Are you there?", by=town.ada.id)
        town.write("Just talk", by=town.ben.id)
    await town.restart()
    assert [turn.question for turn in await town.turns()] == ["Here I am?", "Are you there?"]

    await town.restart()
    assert len(town.answers()) == 2


async def test_an_old_question_gets_one_short_apology(town: Town) -> None:
    await town.ask("Here I am?")
    with deaf(town):
        town.write(f"{town.mention} Are you there?", by=town.ada.id)
    town.env.backend.advance_clock(3600)
    await town.restart()
    await town.restart()

    assert [answer.content for answer in town.answers()][1:] == [
        "I was away when you asked. Ask again if it still matters."
    ]


async def test_an_answer_begun_before_a_long_absence_says_that_it_will_not_be_finished(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.platforms.discord.catch_up.YOUNG", timedelta(seconds=-1))
    town.hold()
    await town.ask("When do I plant tomatoes?")
    (begun,) = town.answers()
    town.answerer.hold_after = None
    await town.restart()
    (ended,) = town.answers()
    assert ended.id == begun.id and not ended.components
    assert ended.content.endswith("I was away when you asked. Ask again if it still matters.")


async def test_a_direct_message_of_our_absence_is_found_too(town: Town) -> None:
    await town.ada.send_dm("Here I am?")
    with deaf(town):
        town.write("Are you there?", by=town.ada.id, channel=town.ada.user.dm_channel)
    await town.restart()
    assert [turn.question for turn in await town.turns()] == ["Here I am?", "Are you there?"]


async def test_a_quiet_channel_is_not_read_on_return(town: Town) -> None:
    await town.ask("Here I am?")
    before = len(town.calls("GET"))
    await town.env.advance_time(60)
    await town.restart()
    assert not [call for call in town.calls("GET")[before:] if call.endswith("/messages")]


async def test_a_command_cut_off_by_a_restart_is_told_so_instead_of_thinking_for_ever(town: Town) -> None:
    town.hold()
    await town.ada.slash(town.channel, "ask", question="When do I plant tomatoes?")
    town.answerer.hold_after = None
    await town.restart()

    (response,) = town.answers()
    assert response.content.endswith("I was away when you asked. Ask again if it still matters.")
    assert not response.components, "there is nothing left to stop"
    assert [turn.state for turn in await town.turns()] == ["cancelled"]
    await town.restart()
    assert [one.content for one in town.answers()] == [response.content], "once is enough"


async def test_what_was_asked_through_the_api_is_nobodys_to_catch_up_with(town: Town) -> None:
    place = Place("discord", str(town.guild.id), "chatcmpl-1")
    question = Question(place=place, member="api:app:", external_id="chatcmpl-1", text="Hello?")
    said_first = [event async for event in town.assistant.ask(question)]
    await town.restart()
    (turn,) = await town.turns()
    assert isinstance(said_first[-1], Finished)
    assert (turn.state, turn.answer) == ("answered", said_first[-1].answer)


async def test_a_question_deleted_in_our_absence_is_not_answered(town: Town) -> None:
    town.hold()
    question = await town.ask("My secret?")
    with deaf(town):
        town.env.backend.delete_message(town.channel.id, question.id)
    town.answerer.hold_after = None
    await town.restart()
    assert [turn.state for turn in await town.turns()] == ["erased"]
    assert town.answers() == []


# duplicates


async def test_a_question_delivered_twice_is_answered_once(town: Town) -> None:
    question = await town.ask("When do I plant tomatoes?")
    town.deliver_again(question)
    await town.env.settle()
    await town.restart()
    town.deliver_again(question)
    await town.env.settle()
    assert len(town.answers()) == 1 and len(await town.turns()) == 1


# Discord refuses


async def test_where_the_bot_may_not_write_the_member_is_told_in_private(town: Town) -> None:
    closed = town.guild.create_text_channel(
        "announcements",
        overwrites={town.bot.user: discord.PermissionOverwrite(send_messages=False)},
    )
    await town.env.settle()
    await town.ada.send(closed, f"{town.mention} When do I plant tomatoes?")

    (told,) = town.answers(town.ada.user.dm_channel)
    assert told.content == (
        f"I may not write {closed.mention}, so I could not answer you there. Ask a moderator to allow it."
    )
    assert await town.turns() == [], "what cannot be answered is not asked"


async def test_without_the_right_to_read_history_the_answer_comes_without_a_reference(town: Town) -> None:
    channel = town.guild.create_text_channel(
        "no-history",
        overwrites={town.bot.user: discord.PermissionOverwrite(read_message_history=False)},
    )
    await town.env.settle()
    await town.ada.send(channel, f"{town.mention} When do I plant tomatoes?")
    (turn,) = await town.turns()
    sent = [one.json for one in town.env.http_requests if one.json and "content" in one.json]
    assert turn.state == "answered" and sent and "message_reference" not in sent[0]


@pytest.mark.parametrize("status", [500, 503])
async def test_the_final_text_lands_although_discord_fails_at_first(town: Town, status: int) -> None:
    town.hold()
    await town.ask("When do I plant tomatoes?")
    town.env.inject_error("PATCH", "/channels/*/messages/*", status=status, times=2)
    await town.release()

    (answer,) = town.answers()
    assert answer.content == (await town.turns())[0].answer.strip()
    assert [str(item.emoji) for item in answer.components[0].children] == ["👍", "👎", "🔄"]


async def test_an_answer_that_a_moderator_deletes_meanwhile_is_not_sent_again(town: Town) -> None:
    town.hold()
    await town.ask("When do I plant tomatoes?")
    await town.moderator.delete(town.answers()[0])
    await town.release()
    await town.restart()

    assert town.answers() == []
    assert (await town.turns())[0].state in ("cancelled", "answered")


async def test_a_response_that_outlives_its_interaction_is_finished_by_ordinary_edits(town: Town) -> None:
    town.assistant.options = replace(OPTIONS, answer_seconds=3600)
    town.hold()
    await town.ada.slash(town.channel, "ask", question="When do I plant tomatoes?")
    await town.env.advance_time(16 * 60)
    await town.release()

    (answer,) = town.answers()
    (turn,) = await town.turns()
    assert turn.state == "answered" and answer.content.endswith(turn.answer.strip())
    assert answer.components


# the watchdog


async def test_a_forgotten_question_is_noticed_told_and_counted(town: Town) -> None:
    question = await town.ask("When do I plant tomatoes?")
    await reopen(town, asked_ago=OPTIONS.answer_seconds + GRACE_S + 1)
    await town.env.advance_time(30)

    (turn,) = await town.turns()
    told = town.answers()[-1]
    assert turn.state == "failed" and turn.error_reference in told.content
    assert told.content.startswith("This took too long, so I stopped.")
    assert told.reference is not None and told.reference.message_id == question.id
    await town.env.advance_time(60)
    assert len(town.answers()) == 2, "once is enough"


async def test_a_question_that_a_start_answers_is_not_called_forgotten(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    await reopen(town, asked_ago=OPTIONS.answer_seconds + GRACE_S + 1)
    await town.restart()

    (turn,) = await town.turns()
    assert turn.state == "answered"
    assert not [one for one in town.answers() if one.content.startswith("This took too long")]


async def test_a_question_still_within_its_time_is_left_alone(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    await reopen(town, asked_ago=10)
    await town.env.advance_time(30)
    assert (await town.turns())[0].state == "asked"


# slash commands


async def test_slash_commands_are_told_to_discord_only_when_they_changed(town: Town) -> None:
    def told() -> int:
        return len([call for call in town.calls("PUT") if call.endswith("/commands")])

    assert told() == 1
    await town.restart()
    assert told() == 1
    async with town.database.session() as session:
        await platform_state.remember(
            session, "discord", f"commands:{town.bot.application_id}", "of another version"
        )
    await town.restart()
    assert told() == 2


async def test_a_command_that_breaks_tells_so_with_a_reference(town: Town) -> None:
    await town.database.close()
    town.database.session = broken  # type: ignore[method-assign]  # stands for a database that went away
    shown = await town.ada.slash(town.channel, "mode", mode="tldr")
    assert "tell the operator the reference" in said(shown)
    assert town.env.errors


async def test_a_question_that_the_record_cannot_take_is_refused_with_a_reason(town: Town) -> None:
    await town.database.close()
    town.database.session = broken  # type: ignore[method-assign]  # stands for a database that went away
    question = await town.ask("When do I plant tomatoes?")
    (told,) = town.answers()
    assert "tell the operator the reference" in told.content
    assert told.reference is not None and told.reference.message_id == question.id


async def test_while_the_record_is_away_its_own_channel_is_still_known_and_mere_talk_gets_no_word(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.chat.communities.FRESH_S", 0.0)
    own = town.guild.create_text_channel("ask-me")
    await town.set(own_channels=[str(own.id)])
    await town.ask("When do I plant tomatoes?")
    await town.database.close()
    town.database.session = broken  # type: ignore[method-assign]  # stands for a database that went away
    await town.ada.send(own, "And basil?")
    await town.ada.send(town.channel, "Nice weather.")
    (told,) = town.answers(own)
    assert "tell the operator the reference" in told.content
    assert len(town.answers()) == 1


def broken(*args: Any, **options: Any) -> Any:
    raise OSError("the database is gone")


class deaf:
    """A stretch of time in which the bot hears nothing, as when it is down."""

    def __init__(self, town: Town) -> None:
        self._subscribers: list[Any] = town.env.backend.subscribers
        self._catch_up = town.bot.catch_up

    def __enter__(self) -> None:
        self._kept = list(self._subscribers)
        self._subscribers.clear()
        self._catch_up.away(0)

    def __exit__(self, *error: Any) -> None:
        self._subscribers.extend(self._kept)


async def reopen(town: Town, *, asked_ago: float) -> None:
    """Leave the only turn as a process that died would have left it."""
    async with town.database.session() as session:
        turn = await session.get_one(Turn, (await town.turns())[0].id)
        turn.state, turn.answer = "asked", ""
        turn.asked_at = now() - timedelta(seconds=asked_ago)
        session.add(turn)
        where = {"channel": town.channel.id}
        await open_questions.keep(session, turn.id or 0, asker=str(town.ada.id), shown_in=where)


def try_again_after(monkeypatch: pytest.MonkeyPatch, pause_s: float) -> None:
    """Let questions and signs of typing wait that long: what is due within `settle_timeout` is waited for."""
    monkeypatch.setattr("bot.record_away.PAUSES_S", (pause_s,))
    monkeypatch.setattr("bot.platforms.discord.typing_signs.EVERY_S", pause_s)


def take_the_record_away(town: Town, monkeypatch: pytest.MonkeyPatch, *, reads: bool) -> None:
    """Let nothing be written, nor read unless it `reads`."""
    session = town.database.session

    def away(*, read_only: bool = False) -> Any:
        if not (reads and read_only):
            raise DatabaseLocked("The record is away.")
        return session(read_only=read_only)

    monkeypatch.setattr(town.database, "session", away)


def write_nothing_down_once_shown(
    town: Town, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException] = asyncio.CancelledError
) -> None:
    """From the moment on that a whole answer is shown, nothing is written down: what a kill leaves."""
    session = town.database.session

    def dead(*, read_only: bool = False) -> Any:
        if not read_only and any("👍" in str(one.components) for one in town.answers()):
            raise fault("Nothing is written down.")
        return session(read_only=read_only)

    monkeypatch.setattr(town.database, "session", dead)
