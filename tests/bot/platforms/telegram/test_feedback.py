"""What members do with an answer: thumbs, reactions, reasons, better answers, once more."""

from __future__ import annotations

from dataclasses import replace

from tests.bot.platforms.telegram.conftest import ADA, BEN, BOT, GARDEN, Town
from tests.doubles.telegram_server import labels, person

GROUP = GARDEN["id"]


async def test_the_other_thumb_changes_the_vote_and_the_same_takes_it_back(town: Town) -> None:
    answer = await town.ask("How?")
    await town.toast(town.api.tap(answer, "👍", by=ADA))
    await town.toast(town.api.tap(answer, "👎", by=ADA))
    assert await town.votes() == [(-1, "", "")]
    assert await town.toast(town.api.tap(answer, "👎", by=ADA)) == "Your vote is taken back."
    assert await town.votes() == []


async def test_after_a_thumb_down_a_reason_is_a_tap_and_a_better_answer_a_reply(town: Town) -> None:
    answer = await town.ask("How?")
    town.api.tap(answer, "👎", by=ADA)
    asked = await town.heard("What was wrong?")
    assert await town.toast(town.api.tap(asked, "Wrong facts", by=ADA)) == "Noted, thank you."
    await town.api.until(lambda: "✓ Wrong facts" in labels(town.api.said(ADA["id"])[-1]))
    town.api.write("Like this.", by=ADA, reply_to=asked)
    await town.heard("Noted, thank you.")
    assert await town.votes() == [(-1, "wrong facts", "Like this.")]
    assert len(await town.turns()) == 1, "the better answer is no question"


async def test_talk_under_the_question_what_was_wrong_is_nobodys_better_answer(town: Town) -> None:
    answer = await town.ask(f"{BOT} How?", chat=GARDEN)
    town.api.tap(answer, "👎", by=ADA)
    asked = await town.heard("What was wrong?", GROUP)
    town.api.write("lol", by=BEN, chat=GARDEN, reply_to=asked)
    await town.ask(f"{BOT} And now?", chat=GARDEN)
    assert await town.votes() == [(-1, "", "")]


async def test_reactions_count_as_votes(town: Town) -> None:
    answer = await town.ask(f"{BOT} How?", chat=GARDEN)
    town.api.react(answer, "👍", by=BEN)
    await town.idle()
    assert await town.votes() == [(1, "", "")]
    town.api.react(answer, "👎", old="👍", by=BEN)
    await town.idle()
    assert await town.votes() == [(-1, "", "")]
    town.api.react(answer, "", old="👎", by=BEN)
    await town.idle()
    assert await town.votes() == []


async def test_a_thumb_that_still_stands_counts_again_when_the_later_one_is_taken_away(town: Town) -> None:
    answer = await town.ask(f"{BOT} How?", chat=GARDEN)
    for old, new, vote in ("", "👍", 1), ("👍", "👍👎", -1), ("👍👎", "👍", 1), ("👍", "", 0):
        town.api.react(answer, new, old=old, by=BEN)
        await town.idle()
        assert await town.votes() == ([(vote, "", "")] if vote else [])


async def test_thumbs_in_quick_succession_count_in_the_order_in_which_they_came(town: Town) -> None:
    answer = await town.ask(f"{BOT} How?", chat=GARDEN)
    for number in range(15):
        tapping, reacting = person(2000 + number, "Tapping"), person(3000 + number, "Reacting")
        for thumb in ("👍", "👎", "👎", "👍", "👎"):
            town.api.tap(answer, thumb, by=tapping)
        for old, new in ("", "👍"), ("👍", "👎"), ("👎", ""), ("", "👎"):
            town.api.react(answer, new, old=old, by=reacting)
    await town.idle()
    assert await town.votes() == [(-1, "", "")] * 30


async def test_a_reaction_to_anything_else_counts_nothing(town: Town) -> None:
    await town.ask(f"{BOT} How?", chat=GARDEN)
    town.api.react(town.api.messages[GROUP, 1], "👍", by=BEN)
    await town.idle()
    assert await town.votes() == []


async def test_once_more_answers_anew_for_the_asker_only(town: Town) -> None:
    answer = await town.ask(f"{BOT} How?", chat=GARDEN)
    refused = await town.toast(town.api.tap(answer, "Regenerate", by=BEN))
    town.api.tap(answer, "Regenerate", by=ADA)
    await town.api.until(lambda: len(town.answers(GROUP)) == 2)
    first, second = await town.turns()
    assert refused == "Only the person who asked may do that."
    assert (second.question, second.regenerates_id) == ("How?", first.id)
    assert town.answers(GROUP)[1]["reply_to_message"]["message_id"] == 1


async def test_an_answer_that_outlasts_its_time_is_kept_votable_and_goes_on_when_asked_to(town: Town) -> None:
    options = town.assistant.options
    town.assistant.options = replace(options, answer_seconds=1.5)
    town.answerer.scripts, town.answerer.hold_after = [["Plant ", "them ", "in ", "May."]], 2
    cut_off = await town.ask(f"{BOT} When?", chat=GARDEN)
    (turn,) = await town.turns()
    assert (turn.state, turn.answer) == ("answered", "Plant them")
    assert cut_off["text"].startswith(turn.answer) and "I ran out of time here." in cut_off["text"]
    assert labels(cut_off) == ["👍", "👎", "▶ Continue", "🔄 Regenerate"]
    assert await town.toast(town.api.tap(cut_off, "👍", by=BEN)) == "Noted, thank you."
    refused = await town.toast(town.api.tap(cut_off, "Continue", by=BEN))
    assert refused == "Only the person who asked may do that."

    town.assistant.options = options
    town.answerer.scripts, town.answerer.hold_after = [["In May, when it is warm."]], None
    town.api.tap(cut_off, "Continue", by=ADA)
    await town.api.until(lambda: len(town.answers(GROUP)) == 2)
    _, more = await town.turns()
    assert (more.question, more.answer) == ("Go on from where you stopped.", "In May, when it is warm.")
    assert {"role": "assistant", "content": turn.answer} in town.answerer.asked[-1].messages


async def test_a_question_asked_once_more_can_be_stopped_too(town: Town) -> None:
    answer = await town.ask(f"{BOT} How?", chat=GARDEN)
    town.hold()
    town.api.tap(answer, "Regenerate", by=ADA)
    growing = await town.api.until(lambda: [one for one in town.api.said(GROUP) if labels(one) == ["⏹ Stop"]])
    assert await town.toast(town.api.tap(growing[0], "Stop", by=ADA)) == "Stopping."
    await town.heard("Stopped.", GROUP)


async def test_a_button_cannot_vote_on_another_chats_answer(town: Town) -> None:
    answer = await town.ask("How?")
    forged = dict(answer, chat={"id": BEN["id"], "type": "private"})
    await town.toast(town.api.tap(forged, "👍", by=BEN))
    assert await town.votes() == []


async def test_a_button_of_a_message_too_old_for_telegram_to_show_still_votes(town: Town) -> None:
    answer = await town.ask("How?")
    code = answer["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
    hidden = {"chat": answer["chat"], "message_id": answer["message_id"], "date": 0}
    town.api.update(
        callback_query={"id": "old", "from": ADA, "message": hidden, "chat_instance": "1", "data": code}
    )
    assert await town.toast("old") == "Noted, thank you."


async def test_a_button_of_another_version_is_politely_refused(town: Town) -> None:
    answer = await town.ask("How?")
    answer["reply_markup"]["inline_keyboard"][0][0]["callback_data"] = "tl0:what:1"
    assert await town.toast(town.api.tap(answer, "👍", by=ADA)) == "That answer is no longer kept."
