"""Somebody asks on Telegram, and is answered: in private, in groups, in topics, once, and whole."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from feedback.tables import Bookmark, Conversation, IncomingUpdate, Member, OpenQuestion
from tests.bot.platforms.telegram.conftest import ADA, ADMIN, BEN, BOT, GARDEN, POLISH, Town
from tests.doubles.telegram_server import Fault, labels, person

GROUP = GARDEN["id"]


# in private


async def test_a_private_question_is_answered_as_it_grows_and_can_be_voted_on(town: Town) -> None:
    town.hold()
    town.api.write("When do I plant tomatoes?", by=ADA)
    await town.api.until(lambda: town.api.drafts.get(ADA["id"]))
    assert town.api.said(ADA["id"]) == [], "a draft is no message yet"
    town.release()
    (answer,) = await town.api.until(town.answers)
    (turn,) = await town.turns()
    assert labels(answer) == ["👍", "👎", "🔄 Regenerate"]
    assert turn.state == "answered" and turn.answer.strip()

    tapped = town.api.tap(answer, "👍", by=ADA)
    assert await town.toast(tapped) == "Noted, thank you."
    assert await town.votes() == [(1, "", "")]


async def test_where_drafts_are_refused_messages_are_edited_with_a_button_that_stops(town: Town) -> None:
    town.api.faults = [Fault("sendMessageDraft", 400, "Bad Request: METHOD_NOT_ALLOWED", stays=True)]
    town.hold()
    town.api.write("When do I plant tomatoes?", by=ADA)
    (growing,) = await town.api.until(lambda: town.api.said(ADA["id"]))
    assert labels(growing) == ["⏹ Stop"]

    tapped = town.api.tap(growing, "Stop", by=ADA)
    assert await town.toast(tapped) == "Stopping."
    await town.heard("Stopped.")
    (turn,) = await town.turns()
    assert turn.state == "cancelled"
    assert labels(town.api.said(ADA["id"])[0]) == [], "what has no whole answer has no votes"


async def test_a_private_answer_is_stopped_by_a_command(town: Town) -> None:
    town.hold()
    town.api.write("When do I plant tomatoes?", by=ADA)
    await town.api.until(lambda: town.api.drafts.get(ADA["id"]))
    town.api.write("/stop", by=ADA)
    await town.heard("Stopped.")
    await town.idle()

    town.api.write("/stop", by=ADA)
    await town.heard("Nothing is being written.")


async def test_the_next_question_knows_the_one_before(town: Town) -> None:
    await town.ask("My dog is called Rex.")
    await town.ask("What is my dog called?")
    asked = [message["content"] for message in town.answerer.asked[-1].messages]
    assert "My dog is called Rex." in asked


async def test_a_polish_member_is_spoken_to_in_polish(town: Town) -> None:
    answer = await town.ask("Kiedy sadzić pomidory?", by=POLISH)
    assert "🔄 Wygeneruj ponownie" in labels(answer)
    assert await town.toast(town.api.tap(answer, "👍", by=POLISH)) == "Zapisane, dziękuję."


async def test_a_picture_alone_is_told_that_only_text_is_read(town: Town) -> None:
    photo = [{"file_id": "1", "file_unique_id": "1", "width": 1, "height": 1}]
    town.api.write("", by=ADA, photo=photo)
    await town.heard("I can read text only.")


async def test_a_text_file_is_part_of_the_question(town: Town) -> None:
    town.api.write_file("advice.txt", b"Plant tomatoes in May.", by=ADA, caption="Is that right?")
    await town.api.until(town.answers)
    assert (await town.turns())[0].question == "Is that right?\n\nPlant tomatoes in May."


async def test_a_long_text_file_is_read_up_to_the_questions_limit(town: Town) -> None:
    town.assistant.options = replace(town.assistant.options, max_question_characters=200)
    paste = "tomato " * 1000
    town.api.write_file("long.txt", paste.encode(), by=ADA)
    await town.heard("I read only the beginning of: long.txt. The rest is more than I take.")
    await town.api.until(town.answers)
    (turn,) = await town.turns()
    assert paste.startswith(turn.question) and 180 < len(turn.question) <= 200


async def test_attachments_that_are_no_text_are_named_as_not_read(town: Town) -> None:
    town.api.write_file("leaf.bin", b"\0\1", by=ADA, caption="What is this?")
    await town.heard("I did not read: leaf.bin. I can read text only.")
    await town.api.until(town.answers)
    assert (await town.turns())[0].question == "What is this?"
    photo = [{"file_id": "1", "file_unique_id": "1", "width": 1, "height": 1}]
    town.api.write("", by=POLISH, caption="Co to jest za roślina na tym zdjęciu?", photo=photo)
    await town.heard("Nie przeczytano: obraz.", POLISH["id"])


async def test_of_two_questions_sent_at_once_the_first_is_answered(town: Town) -> None:
    await town.set(cooldown_seconds=60)
    people = [person(6000 + number, f"Member {number}") for number in range(6)]
    for one in people:
        for text in ("First?", "Second?"):
            town.api.write(text, by=one)
    for one in people:
        await town.heard("One moment: ask again in", one["id"])
        await town.api.until(lambda asker=one["id"]: town.answers(asker))
    assert [turn.question for turn in await town.turns()] == ["First?"] * 6


async def test_who_asks_too_soon_is_told_when_to_ask_again(town: Town) -> None:
    await town.set(cooldown_seconds=30)
    await town.ask("One?")
    town.api.write("Two?", by=ADA)
    told = await town.heard("One moment")
    await town.ask("Three?", by=BEN)
    assert re.fullmatch(r"One moment: ask again in (29|30) s\.", told["text"])
    assert len(await town.turns()) == 2, "the cooldown is each member's own"


async def test_no_account_goes_into_the_record_but_while_its_question_is_open(town: Town) -> None:
    town.hold()
    town.api.write("Does @ben_gardener know?", by=ADA)
    await town.api.until(lambda: town.api.drafts.get(ADA["id"]))
    assert [one.asker for one in await town.rows(OpenQuestion)] == [str(ADA["id"])]
    town.release()
    await town.api.until(town.answers)
    await town.idle()

    (turn,) = await town.turns()
    tables = (Member, Conversation, Bookmark, OpenQuestion, IncomingUpdate)
    kept = [turn, *[row for table in tables for row in await town.rows(table)]]
    assert turn.question == "Does @member know?"
    # moments and durations have digits enough to hold any number by chance
    told = [value for row in kept for value in row.model_dump().values()]
    words = [str(value) for value in told if not isinstance(value, datetime | float)]
    assert all(str(ADA["id"]) not in one for one in words)


# in groups


@pytest.mark.parametrize(
    "text", [f"{BOT} When do I plant?", "/ask When do I plant?", f"/ask{BOT} When do I plant?"]
)
async def test_in_a_group_a_mention_and_the_command_are_answered_as_a_reply(town: Town, text: str) -> None:
    answer = await town.ask(text, chat=GARDEN)
    (turn,) = await town.turns()
    assert turn.question == "When do I plant?"
    assert answer["reply_to_message"]["text"] == text


async def test_in_a_group_talk_among_members_is_none_of_our_business(town: Town) -> None:
    town.api.write("Nice weather, @somebody", by=BEN, chat=GARDEN)
    await town.ask(f"{BOT} Hello?", chat=GARDEN)
    assert len(await town.turns()) == 1


async def test_a_reply_goes_on_with_the_conversation(town: Town) -> None:
    answer = await town.ask(f"{BOT} My dog is called Rex.", chat=GARDEN)
    await town.ask("What is it called?", by=BEN, chat=GARDEN, reply_to=answer)
    await town.ask(f"{BOT} Something else?", chat=GARDEN)
    conversations = [turn.conversation_id for turn in await town.turns()]
    assert conversations[0] == conversations[1] != conversations[2]


async def test_a_topic_is_a_conversation_and_is_answered_there(town: Town) -> None:
    topic = {"message_thread_id": 77, "is_topic_message": True}
    answer = await town.ask(f"{BOT} My dog is called Rex.", chat=GARDEN, **topic)
    await town.ask(f"{BOT} What is it called?", by=BEN, chat=GARDEN, **topic)
    await town.ask(f"{BOT} And here?", chat=GARDEN, message_thread_id=78, is_topic_message=True)
    conversations = [turn.conversation_id for turn in await town.turns()]
    assert conversations[0] == conversations[1] != conversations[2]
    assert answer["message_thread_id"] == 77


async def test_in_a_topic_of_our_own_every_message_is_a_question(town: Town) -> None:
    await town.set(str(GROUP), own_channels=["77"])
    await town.ask("No mention needed?", chat=GARDEN, message_thread_id=77, is_topic_message=True)
    town.api.write("But here it is.", by=BEN, chat=GARDEN)
    await town.ask("And here again?", chat=GARDEN, message_thread_id=77, is_topic_message=True)
    assert [turn.question for turn in await town.turns()] == ["No mention needed?", "And here again?"]


async def test_while_the_record_cannot_be_read_who_asks_in_our_own_topic_is_told_and_mere_talk_gets_no_word(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.chat.communities.FRESH_S", 0.0)
    topic = {"chat": GARDEN, "message_thread_id": 77, "is_topic_message": True}
    await town.set(str(GROUP), own_channels=["77"])
    await town.ask("No mention needed?", **topic)
    session = town.database.session

    def unreadable(*, read_only: bool = False) -> Any:
        if read_only:
            raise OSError("the disk is gone")
        return session()

    monkeypatch.setattr(town.database, "session", unreadable)
    town.api.write("Nice weather.", by=BEN, chat=GARDEN)
    town.api.write("And here again?", by=ADA, **topic)
    told = await town.heard("tell the operator the reference", GROUP)
    assert told["message_thread_id"] == 77
    assert len(town.api.said(GROUP)) == 2


async def test_only_the_asker_and_administrators_may_stop_an_answer_in_a_group(town: Town) -> None:
    town.hold()
    town.api.write(f"{BOT} When do I plant?", by=ADA, chat=GARDEN)
    (growing,) = await town.api.until(lambda: town.api.said(GROUP))
    assert await town.toast(town.api.tap(growing, "Stop", by=BEN)) == "Only the person who asked may do that."
    assert await town.toast(town.api.tap(growing, "Stop", by=ADMIN)) == "Stopping."
    await town.heard("Stopped.", GROUP)


async def test_an_anonymous_administrator_is_answered(town: Town) -> None:
    anonymous = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
    await town.ask(f"{BOT} Who am I?", by=anonymous, chat=GARDEN, sender_chat=GARDEN)
    assert len(await town.turns()) == 1


async def test_other_bots_are_not_answered(town: Town) -> None:
    other = {"id": 55, "is_bot": True, "first_name": "Other"}
    town.api.write(f"{BOT} Let us talk for ever.", by=other, chat=GARDEN)
    await town.ask(f"{BOT} Hello?", chat=GARDEN)
    assert len(await town.turns()) == 1


# edited questions


async def test_an_answer_under_way_follows_its_edited_question(town: Town) -> None:
    town.hold()
    question = town.api.write("Tomatos?", by=ADA)
    await town.api.until(lambda: town.api.drafts.get(ADA["id"]))
    town.api.rewrite(question, "Tomatoes?")
    await town.api.until(lambda: len(town.answerer.asked) == 2)
    town.release()
    await town.api.until(town.answers)
    assert [turn.question for turn in await town.turns()] == ["Tomatoes?"]


async def test_an_edit_that_comes_before_the_answer_has_begun_is_what_is_answered(quiet_town: Town) -> None:
    town = quiet_town
    question = town.api.write("Tomatos?", by=ADA)
    town.api.rewrite(question, "Tomatoes?")
    await town.begin()
    await town.api.until(town.answers)
    await town.idle()
    assert [turn.question for turn in await town.turns()] == ["Tomatoes?"]
    assert len(town.api.said(ADA["id"])) == 1


async def test_an_edit_while_the_whole_answer_is_being_brought_is_offered_an_answer(town: Town) -> None:
    town.api.faults = [
        Fault("sendMessage", 429, "Too Many Requests: retry after 1", parameters={"retry_after": 1})
    ]
    question = town.api.write("Tomatos?", by=ADA)
    await town.api.until(lambda: town.api.made("sendMessage"))
    town.api.rewrite(question, "Tomatoes?")
    await town.heard("You changed your question.")


async def test_an_edited_question_is_answered_anew_when_its_asker_wants_it(town: Town) -> None:
    await town.ask(f"{BOT} Tomatos?", chat=GARDEN)
    question = town.api.messages[GROUP, 1]
    town.api.rewrite(question, f"{BOT} Tomatoes?")
    offer = await town.heard("You changed your question.", GROUP)
    refused = await town.toast(town.api.tap(offer, "Answer it anew", by=BEN))
    town.api.tap(offer, "Answer it anew", by=ADA)
    await town.api.until(lambda: len(town.answers(GROUP)) == 2)

    first, second = await town.turns()
    assert refused == "Only the person who asked may do that."
    assert (second.question, second.regenerates_id) == ("Tomatoes?", first.id)
    assert offer not in town.api.said(GROUP), "the offer has done its duty"


# what models write


async def test_markdown_is_rendered(town: Town) -> None:
    town.answerer.scripts = [["# Plan\n\n- **dig** `a < b`\n", "- [read](https://example.org)"]]
    answer = await town.ask("How?")
    assert answer["html"] == (
        '<b>Plan</b>\n\n• <b>dig</b> <code>a &lt; b</code>\n• <a href="https://example.org">read</a>'
    )


async def test_broken_markdown_and_foreign_tags_stay_text(town: Town) -> None:
    text = "**bold _it <script>alert(1)</script> [x](javascript:1) `open\n| a |"
    town.answerer.scripts = [[text]]
    answer = await town.ask("How?")
    assert answer["text"] == text


async def test_when_telegram_refuses_a_rendering_the_text_arrives_plain(town: Town) -> None:
    town.answerer.scripts = [["**Dig.**"]]
    town.api.faults = [Fault("editMessageText", 400, "Bad Request: can't parse entities: no idea why")]
    answer = await town.ask("How?")
    assert answer["text"] == "**Dig.**" and labels(answer)


async def test_an_answer_of_nothing_but_marks_arrives_as_they_are(town: Town) -> None:
    town.answerer.scripts = [["> "]]
    assert (await town.ask("How?"))["text"] == ">"


async def test_an_answer_beyond_4096_characters_arrives_whole_with_buttons_under_its_end(town: Town) -> None:
    paragraphs = [f"Paragraph {number}: " + "words 🌱 " * 60 for number in range(20)]
    town.answerer.scripts = [[paragraph + "\n\n" for paragraph in paragraphs]]
    await town.ask("Tell me all.")
    shown = town.api.said(ADA["id"])
    whole = "\n".join(message["text"] for message in shown)
    assert all(f"Paragraph {number}:" in whole for number in range(20))
    assert whole.count("🌱") == 20 * 60
    assert [bool(labels(message)) for message in shown] == [False] * (len(shown) - 1) + [True]
    await town.toast(town.api.tap(shown[-1], "👍", by=ADA))
    assert await town.votes() == [(1, "", "")]


async def test_a_failing_answer_says_so_with_a_reference_for_the_operator(town: Town) -> None:
    town.answerer.faults = [RuntimeError("CUDA error at 0xdead")]
    town.api.write("When do I plant?", by=ADA)
    told = await town.heard("The answer failed.")
    (turn,) = await town.turns()
    assert turn.error_reference in told["text"] and "CUDA" not in told["text"]
