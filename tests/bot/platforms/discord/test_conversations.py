"""What members see when they ask."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import simcord

from bot.settings import DiscordSettings
from feedback.tables import Conversation, Member
from tests.bot.platforms.discord.conftest import Town, said

BOTH = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)


@BOTH
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


async def test_the_bot_types_until_the_first_words_and_not_longer(town: Town) -> None:
    town.hold(after=0)
    # nothing settles while it types: the next sign is always due before the settling would have to end
    town.write(f"{town.mention} When do I plant tomatoes?", by=town.ada.id)
    await town.env.advance_time(30)
    assert len([call for call in town.calls("POST") if call.endswith("/typing")]) >= 3

    await town.release()
    before = town.calls("POST")
    await town.env.advance_time(60)
    assert town.calls("POST") == before


async def test_a_reply_to_an_answer_goes_on_with_the_conversation(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    await town.ben.send(town.channel, "And basil?", reply_to=town.answers()[0])

    first, second = await town.turns()
    assert second.conversation_id == first.conversation_id
    contents = [message["content"] for message in town.answerer.asked[-1].messages]
    assert "When do I plant tomatoes?" in contents and contents[-1] == "And basil?"


async def test_two_mentions_are_two_conversations(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    await town.ask("And basil?", by=town.ben)

    first, second = await town.turns()
    assert first.conversation_id != second.conversation_id


async def test_a_direct_message_needs_no_mention(town: Town) -> None:
    await town.ada.send_dm("When do I plant tomatoes?")

    (answer,) = town.answers(town.ada.user.dm_channel)
    (turn,) = await town.turns()
    assert answer.content == turn.answer.strip()


async def test_a_channel_of_its_own_needs_no_mention_and_others_do(town: Town) -> None:
    own = town.guild.create_text_channel("ask-me")
    await town.set(own_channels=[str(own.id)])

    await town.ada.send(own, "When do I plant tomatoes?")
    await town.ada.send(town.channel, "When do I plant tomatoes?")

    assert len(town.answers(own)) == 1
    assert town.answers() == []


async def test_a_mention_of_the_bots_role_means_the_bot(town: Town) -> None:
    role = town.guild.roles["TestBot"]
    managed = {"id": str(role.id), "name": role.name, "permissions": "0", "position": 1, "color": 0}
    managed |= {"hoist": False, "managed": True, "mentionable": False, "flags": 0}
    managed |= {"tags": {"bot_id": str(town.bot.user.id)}}  # which simcord leaves out
    town.env.backend.emit("GUILD_ROLE_UPDATE", {"guild_id": str(town.guild.id), "role": managed})
    await town.ada.send(town.channel, f"{role.mention} When do I plant tomatoes?")

    (turn,) = await town.turns()
    assert turn.question == "When do I plant tomatoes?"


async def test_a_long_talk_moves_into_a_thread_with_all_that_was_said(town: Town) -> None:
    await town.ask("When do I plant tomatoes?")
    for question in ("And basil?", "And dill?"):
        await town.ada.send(town.channel, question, reply_to=town.answers()[-1])
    last = town.answers()[-1]
    assert [str(item.emoji) for item in last.components[0].children][-1] == "🧵"

    await town.ada.click(last, custom_id=last.components[0].children[-1].custom_id)
    (thread,) = town.channel.threads
    await town.ada.send(thread, "And parsley?")

    assert town.answers(thread), "in a thread of its own the bot needs no mention"
    contents = [message["content"] for message in town.answerer.asked[-1].messages]
    assert "And dill?" in contents and contents[-1] == "And parsley?"


async def test_the_bot_answers_neither_bots_nor_itself(town: Town) -> None:
    robot = town.guild.add_member(town.env.create_user("robot", bot=True))
    await town.ask("When do I plant tomatoes?", by=robot)
    town.write(f"{town.mention} Hello me?", by=town.bot.user.id)
    await town.env.settle()

    assert await town.turns() == []


class TestAmongBots:
    @pytest.fixture
    def discord_settings(self) -> DiscordSettings:
        return DiscordSettings(answer_bots=True)

    async def test_other_bots_are_answered_when_that_is_allowed(self, town: Town) -> None:
        robot = town.guild.add_member(town.env.create_user("robot", bot=True))
        await town.ask("When do I plant tomatoes?", by=robot)
        assert len(await town.turns()) == 1


async def test_ask_answers_in_the_mode_it_was_given_under_a_quote_of_the_question(town: Town) -> None:
    shown = await town.ada.slash(town.channel, "ask", question="When do I plant tomatoes?", mode="checklist")

    (turn,) = await town.turns()
    assert turn.mode == "checklist"
    assert said(shown) == f"> When do I plant tomatoes?\n{turn.answer.strip()}"
    await town.ada.send(town.channel, "And basil?", reply_to=shown.response)
    assert {turn.conversation_id for turn in await town.turns()} == {turn.conversation_id}


async def test_a_members_mode_is_remembered(town: Town) -> None:
    shown = await town.ada.slash(town.channel, "mode", mode="tldr")
    await town.ask("When do I plant tomatoes?")

    assert shown.ephemeral and "TL;DR" in said(shown)
    assert (await town.turns())[0].mode == "tldr"


async def test_a_long_answer_lands_whole_in_messages_whose_code_blocks_are_closed(town: Town) -> None:
    code = "\n".join(f"print('line {number} of a long programme')" for number in range(90))
    town.answerer.scripts = [["Here you are:\n\n", "```python\n", *code.splitlines(True), "\n```\n\nDone."]]
    await town.ask("A long programme, please")

    parts = town.answers()
    assert len(parts) > 1
    assert all(len(part.content) <= 2000 for part in parts)
    assert all(part.content.count("```") % 2 == 0 for part in parts)
    whole = "\n".join(part.content for part in parts)
    assert all(line in whole for line in code.splitlines()) and whole.endswith("Done.")
    assert [bool(part.components) for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_a_reply_to_any_part_of_a_long_answer_belongs_to_it(town: Town) -> None:
    town.answerer.scripts = [["word " * 700]]
    await town.ask("A long text, please")
    await town.ben.send(town.channel, "Go on?", reply_to=town.answers()[0])

    first, second = await town.turns()
    assert second.conversation_id == first.conversation_id


async def test_what_the_model_says_never_pings_anyone(town: Town) -> None:
    town.answerer.scripts = [[f"@everyone @here <@{town.ben.id}> <@&{town.guild.roles['Admins'].id}> look!"]]
    await town.ask("Call them all")

    (answer,) = town.answers()
    assert "@everyone" in answer.content
    assert not answer.mention_everyone
    written = [one.json for one in town.env.http_requests if one.json and "content" in one.json]
    assert written and all(one["allowed_mentions"] == {"parse": []} for one in written)


async def test_the_answer_follows_a_question_that_is_edited_meanwhile(town: Town) -> None:
    town.hold()
    question = await town.ask("When do I plant tomatos?")
    await town.ada.edit(question, f"{town.mention} When do I plant tulips?")
    await town.release()

    (turn,) = await town.turns()
    assert (turn.question, turn.state) == ("When do I plant tulips?", "answered")
    assert [answer.content for answer in town.answers()] == [turn.answer.strip()]


async def test_an_edit_that_comes_before_the_answer_has_begun_is_what_is_answered(town: Town) -> None:
    question = town.write(f"{town.mention} When do I plant tomatos?", by=town.ada.id)
    words = {"content": f"{town.mention} When do I plant tulips?"}
    town.env.backend.edit_message(town.channel.id, question.id, words)
    await town.env.settle()

    assert [turn.question for turn in await town.turns()] == ["When do I plant tulips?"]
    assert len(town.answers()) == 1


async def test_a_link_preview_on_the_question_does_not_begin_the_answer_anew(town: Town) -> None:
    town.hold()
    question = await town.ask("What is https://example.org about?")
    town.env.backend.edit_message(town.channel.id, question.id, {"embeds": [{"title": "Example"}]})
    await town.release()

    assert len(town.answerer.asked) == 1


async def test_a_question_deleted_meanwhile_leaves_nothing(town: Town) -> None:
    town.hold()
    question = await town.ask("My secret?")
    await town.ada.delete(question)

    (turn,) = await town.turns()
    assert town.answers() == []
    assert (turn.state, turn.question, turn.answer) == ("erased", "", "")


async def test_a_question_deleted_before_its_answer_has_begun_leaves_nothing(town: Town) -> None:
    question = town.write(f"{town.mention} My secret?", by=town.ada.id)
    town.env.backend.delete_message(town.channel.id, question.id)
    await town.env.settle()

    assert town.answers() == []
    assert not [turn for turn in await town.turns() if turn.state != "erased"]


async def test_a_question_deleted_later_leaves_the_record_and_its_votes_end(town: Town) -> None:
    question = await town.ask("My secret?")
    await town.ada.delete(question)

    (turn,) = await town.turns()
    assert (turn.state, turn.question, turn.answer) == ("erased", "", "")
    assert not town.answers()[0].components


async def test_no_name_and_no_id_of_an_account_goes_into_the_record(town: Town) -> None:
    await town.ask(f"What does <@{town.ben.id}> grow?")

    (turn,) = await town.turns()
    (member,) = await town.rows(Member)
    assert turn.question == "What does @member grow?"
    assert str(town.ada.id) not in member.pseudonym
    assert all(str(town.ada.id) not in row.external_id for row in await town.rows(Conversation))


async def test_an_empty_question_is_told_so(town: Town) -> None:
    await town.ada.send(town.channel, town.mention)
    assert [answer.content for answer in town.answers()] == [
        "Your question is empty. Write what you would like to know."
    ]


async def test_a_picture_alone_is_told_that_only_text_is_read(town: Town) -> None:
    await town.ada.send(town.channel, town.mention, attachments=[("leaf.png", b"png")])
    assert [answer.content for answer in town.answers()] == ["I can read text only. Write your question."]


async def test_a_text_file_is_part_of_the_question(town: Town) -> None:
    files = [("message.txt", b"Plant tomatoes in May, after the last frost.")]
    await town.ada.send(town.channel, f"{town.mention} Is that right?", attachments=files)
    (turn,) = await town.turns()
    assert turn.question == "Is that right?\n\nPlant tomatoes in May, after the last frost."
    assert len(town.answers()) == 1


async def test_a_long_paste_that_discord_made_a_file_of_is_read_up_to_the_questions_limit(town: Town) -> None:
    town.assistant.options = replace(town.assistant.options, max_question_characters=200)
    paste = "tomato " * 1000
    await town.ada.send(town.channel, town.mention, attachments=[("message.txt", paste.encode())])
    (turn,) = await town.turns()
    notice, _ = town.answers()
    assert notice.content == "I read only the beginning of: message.txt. The rest is more than I take."
    assert paste.startswith(turn.question) and 180 < len(turn.question) <= 200


async def test_attachments_that_are_no_text_are_named_as_not_read(town: Town) -> None:
    files = [("leaf.png", b"\x89PNG"), ("not-really.txt", b"\0\1\2"), ("advice.md", b"Water it.")]
    await town.ada.send(town.channel, f"{town.mention} What is this?", attachments=files)
    (turn,) = await town.turns()
    notice, _ = town.answers()
    assert notice.content == "I did not read: leaf.png, not-really.txt. I can read text only."
    assert turn.question == "What is this?\n\nWater it."


async def test_a_link_preview_on_a_question_with_a_file_does_not_begin_the_answer_anew(town: Town) -> None:
    town.hold()
    question = await town.ada.send(
        town.channel, f"{town.mention} Is that right?", attachments=[("message.txt", b"Plant in May.")]
    )
    town.env.backend.edit_message(town.channel.id, question.id, {"embeds": [{"title": "Example"}]})
    await town.release()
    assert len(town.answerer.asked) == 1
    assert (await town.turns())[0].question == "Is that right?\n\nPlant in May."


async def test_of_two_questions_sent_at_once_the_first_is_answered(town: Town) -> None:
    await town.set(cooldown_seconds=60)
    for number in range(6):
        member = town.guild.add_member(town.env.create_user(f"member{number}"))
        for text in ("First?", "Second?"):
            town.write(f"{town.mention} {text}", by=member.id)
    await town.env.settle()
    assert [turn.question for turn in await town.turns()] == ["First?"] * 6


async def test_ask_needs_no_more_of_its_channel_than_the_id(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = town.env.backend.emit

    def emit_less(event: str, payload: dict[str, Any]) -> None:
        emit(event, {name: value for name, value in payload.items() if name != "channel"})

    monkeypatch.setattr(town.env.backend, "emit", emit_less)
    await town.ada.slash(town.channel, "ask", question="When do I plant tomatoes?")
    (conversation,) = await town.rows(Conversation)
    assert conversation.external_id.startswith(f"{town.channel.id}/")
    assert (await town.turns())[0].state == "answered"


async def test_ask_works_in_a_thread_of_which_the_library_knows_the_id_alone(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.ask("When do I plant tomatoes?")
    for question in ("And basil?", "And dill?"):
        await town.ada.send(town.channel, question, reply_to=town.answers()[-1])
    last = town.answers()[-1]
    await town.ada.click(last, custom_id=last.components[0].children[-1].custom_id)
    (thread,) = town.channel.threads
    emit = town.env.backend.emit

    def emit_less(event: str, payload: dict[str, Any]) -> None:
        emit(event, {name: value for name, value in payload.items() if name != "channel"})

    monkeypatch.setattr(town.env.backend, "emit", emit_less)
    town.bot.get_guild(town.guild.id)._threads.clear()
    await town.ada.slash(thread, "ask", question="And parsley?")
    *before, turn = await town.turns()
    assert (turn.state, turn.conversation_id) == ("answered", before[-1].conversation_id)
    assert "And parsley?" in town.answers(thread)[-1].content


async def test_who_asks_too_soon_is_told_when_to_ask_again(town: Town) -> None:
    await town.set(cooldown_seconds=30)
    await town.ask("One?")
    await town.ask("Two?")
    await town.ask("Three?", by=town.ben)

    assert len(await town.turns()) == 2, "the cooldown is each member's own"
    assert re.fullmatch(r"One moment: ask again in (29|30) s\.", town.answers()[1].content)


async def test_a_failing_answer_says_so_with_a_reference_for_the_operator(town: Town) -> None:
    town.answerer.faults = [RuntimeError("CUDA error at 0xdead")]
    await town.ask("When do I plant tomatoes?")

    (turn,) = await town.turns()
    (answer,) = town.answers()
    assert turn.state == "failed" and turn.error_reference
    assert answer.content.endswith(
        "The answer failed. Ask again; if it goes on, tell the operator the reference "
        f"{turn.error_reference}."
    )
    assert "CUDA" not in answer.content
    assert not answer.components, "what has no answer has no votes"


async def test_a_polish_server_is_spoken_to_in_polish(town: Town) -> None:
    await town.set(language="pl", cooldown_seconds=30)
    town.hold()
    await town.ask("Kiedy sadzić pomidory?")
    assert [item.label for item in town.answers()[0].components[0].children] == ["Zatrzymaj"]

    await town.release()
    await town.ask("A bazylię?")
    assert town.answers()[1].content.startswith("Chwileczkę: zapytaj ponownie za")


async def test_commands_have_polish_names_and_descriptions_for_polish_clients(town: Town) -> None:
    registered = {one["name"]: one for one in town.env.backend.commands[None].values()}
    assert registered["ask"]["name_localizations"]["pl"] == "zapytaj"
    assert registered["settings"]["description_localizations"]["pl"].startswith("Jak mam")
    assert registered["Review this answer"]["name_localizations"]["pl"] == "Oceń tę odpowiedź"


@pytest.mark.parametrize("name", ["ask", "mode", "privacy", "about", "console"])
async def test_members_may_use_their_commands_in_direct_messages_too(town: Town, name: str) -> None:
    assert name in town.ada.user.available_commands()


async def test_only_who_is_meant_to_sees_the_commands_of_moderators(town: Town) -> None:
    def seen(by: simcord.MemberActor) -> set[str]:
        return {name.split()[0] for name in by.available_commands(town.channel)}

    assert seen(town.ada) == {"ask", "mode", "privacy", "about", "console"}
    assert seen(town.moderator) == seen(town.ada) | {"review", "rate", "stats", "knowledge"}
    assert seen(town.admin) == seen(town.ada) | {"adapter", "settings", "retrain"}
