"""What a chat does on every platform, and what the record then says."""

from __future__ import annotations

import pytest

from feedback.tables import Adapter
from tests.bot.platforms.contract.driver import ChatDriver, Decision, Record

QUESTION = "When do I plant tomatoes?"
FIRST, REST = "In May, ", "they say."
ANSWER = "In May, they say."


async def answered(chat: ChatDriver, question: str = QUESTION) -> None:
    """Ask, and wait for the whole answer."""
    chat.model_says(FIRST, REST)
    await chat.ask(question)
    assert await chat.whole_answer() == ANSWER


async def under_way(chat: ChatDriver, question: str = QUESTION) -> None:
    """Ask, and wait until the answer has begun; the model pauses there."""
    chat.model_says(FIRST, REST)
    chat.hold_model()
    await chat.ask(question)
    assert await chat.first_words() == FIRST.strip()


async def test_a_question_is_answered_once_and_kept_with_its_answer(chat: ChatDriver, record: Record) -> None:
    await answered(chat)
    assert await chat.shown_answers() == [ANSWER]
    (turn,) = await record.turns()
    assert (turn.question, turn.answer, turn.state) == (QUESTION, ANSWER, "answered")


async def test_an_answer_grows_before_it_is_whole(chat: ChatDriver, record: Record) -> None:
    await under_way(chat)
    assert [turn.state for turn in await record.turns()] == ["asked"]
    await chat.release_model()
    assert await chat.whole_answer() == ANSWER
    assert await chat.shown_answers() == [ANSWER]


async def test_stop_keeps_what_was_said_and_frees_the_chat_for_the_next_question(
    chat: ChatDriver, record: Record
) -> None:
    await under_way(chat)
    await chat.press_stop()
    (stopped,) = await chat.shown_answers()
    assert stopped.split() == [*FIRST.split(), *chat.stop_notice.split()]
    (turn,) = await record.turns()
    assert (turn.state, turn.answer.strip()) == ("cancelled", FIRST.strip())

    await chat.release_model()
    await answered(chat, "And basil?")
    assert [turn.state for turn in await record.turns()] == ["cancelled", "answered"]


@pytest.mark.needs("editing a question")
async def test_an_answer_under_way_follows_its_edited_question(chat: ChatDriver, record: Record) -> None:
    await under_way(chat, "When do I plant tomatos?")
    chat.model_says("In ", "autumn.")
    await chat.edit_question("When do I plant tulips?")
    await chat.release_model()
    assert await chat.whole_answer() == "In autumn."
    assert await chat.shown_answers() == ["In autumn."]
    (turn,) = await record.turns()
    assert (turn.question, turn.answer, turn.state) == ("When do I plant tulips?", "In autumn.", "answered")


@pytest.mark.needs("deleting a question")
async def test_a_question_deleted_while_it_is_answered_leaves_nothing(
    chat: ChatDriver, record: Record
) -> None:
    await under_way(chat)
    await chat.delete_question()
    assert await chat.shown_answers() == []
    (turn,) = await record.turns()
    assert (turn.question, turn.answer, turn.state) == ("", "", "erased")


@pytest.mark.needs("deleting a question")
async def test_a_question_deleted_after_its_answer_leaves_the_record(
    chat: ChatDriver, record: Record
) -> None:
    await answered(chat)
    await chat.delete_question()
    (turn,) = await record.turns()
    assert (turn.question, turn.answer, turn.state) == ("", "", "erased")


@pytest.mark.needs("regenerating")
async def test_a_question_is_answered_anew_as_a_turn_of_its_own(chat: ChatDriver, record: Record) -> None:
    await answered(chat)
    chat.model_says("After the ", "last frost.")
    await chat.regenerate()
    assert await chat.whole_answer() == "After the last frost."
    assert await chat.shown_answers() == [ANSWER, "After the last frost."]
    first, second = await record.turns()
    assert (second.question, second.answer) == (QUESTION, "After the last frost.")
    assert (second.regenerates_id, second.state) == (first.id, "answered")


async def test_a_thumb_votes_and_the_other_one_changes_the_vote(chat: ChatDriver, record: Record) -> None:
    await answered(chat)
    await chat.vote("up")
    assert await record.votes() == [1]
    await chat.vote("down")
    assert await record.votes() == [-1]


@pytest.mark.needs("taking a vote back")
async def test_the_same_thumb_again_takes_the_vote_back(chat: ChatDriver, record: Record) -> None:
    await answered(chat)
    await chat.vote("up")
    await chat.vote("up")
    assert await record.votes() == []


async def test_a_moderator_is_shown_what_waits_and_approves_edits_or_rejects_it(
    chat: ChatDriver, record: Record
) -> None:
    decisions: list[tuple[Decision, str]] = [("approve", ""), ("edit", "After the frost."), ("reject", "")]
    for decision, better in decisions:
        question = f"May I {decision}?"
        await answered(chat, question)
        shown = await chat.review(decision, better)
        assert question in shown and ANSWER in shown
    assert [(turn.review_state, turn.approved_answer) for turn in await record.turns()] == [
        ("approved", ANSWER),
        ("edited", "After the frost."),
        ("rejected", ""),
    ]
    assert await record.decisions() == ["approve", "edit", "reject"]


async def test_after_a_switch_the_next_question_has_the_new_adapter(
    chat: ChatDriver, record: Record, adapter: Adapter
) -> None:
    await answered(chat)
    await chat.switch("garden@1")
    await answered(chat, "And basil?")
    assert [turn.adapter_id for turn in await record.turns()] == [None, adapter.id]


@pytest.mark.needs("finishing after a restart")
async def test_an_answer_cut_off_by_a_restart_is_finished_and_shown_once(
    chat: ChatDriver, record: Record
) -> None:
    await under_way(chat)
    chat.model_says(FIRST, REST)
    await chat.restart()
    assert await chat.whole_answer() == ANSWER
    assert await chat.shown_answers() == [ANSWER]
    (turn,) = await record.turns()
    assert (turn.answer, turn.state) == (ANSWER, "answered")


async def test_a_restart_leaves_no_question_open_and_loses_nothing_that_was_said(
    chat: ChatDriver, record: Record
) -> None:
    await under_way(chat)
    chat.model_says(FIRST, REST)
    await chat.restart()
    await answered(chat, "And basil?")
    cut_off, next_one = await record.turns()
    assert cut_off.state in ("answered", "cancelled") and cut_off.answer.startswith(FIRST.strip())
    assert (next_one.question, next_one.state) == ("And basil?", "answered")


@pytest.mark.needs("voting after a restart")
async def test_an_answer_from_before_a_restart_can_still_be_voted_on(
    chat: ChatDriver, record: Record
) -> None:
    await answered(chat)
    await chat.restart()
    await chat.vote("down")
    assert await record.votes() == [-1]
