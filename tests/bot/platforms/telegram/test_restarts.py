"""Nothing is lost or said twice: restarts, duplicates, absences, other pollers, closed and moved chats."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.chat import live_answers
from bot.errors import PortTaken
from bot.platforms.telegram import catch_up
from bot.platforms.telegram.application import run_telegram
from bot.platforms.telegram.context import BEGUN_AT_ONCE
from bot.platforms.telegram.errors import TelegramRefused
from feedback import journal
from feedback.errors import DatabaseLocked
from feedback.tables import Community, IncomingUpdate, OpenQuestion, Turn, now
from tests.bot.platforms.telegram.conftest import ADA, ADMIN, BEN, BOT, GARDEN, Town
from tests.doubles.telegram_server import Fault, group, person
from tests.transactions import counted

GROUP = GARDEN["id"]
HOUR = 3600


async def test_a_question_cut_off_by_the_end_is_answered_after_the_start(town: Town) -> None:
    town.hold()
    town.api.write("When do I plant?", by=ADA)
    await town.api.until(lambda: town.api.drafts.get(ADA["id"]))
    await town.end()
    town.release()
    await town.begin()
    await town.api.until(town.answers)
    await town.idle()
    (turn,) = await town.turns()
    assert turn.state == "answered" and len(town.answers()) == 1
    assert await town.rows(OpenQuestion) == []


async def test_an_answer_that_is_being_sent_when_the_service_ends_is_not_sent_again_by_the_next_start(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.platforms.telegram.application.STOP_S", 0.0)
    sent = town.api.holds["editMessageText"] = asyncio.Event()
    town.api.write("When do I plant?", by=ADA)
    await town.api.until(town.answers)
    assert town.bot is not None
    (answering,) = town.bot.context.answers._tasks
    ending = asyncio.create_task(town.end())
    await town.api.until(answering.cancelling)
    sent.set()
    await ending
    await town.begin()
    await town.idle()
    (turn,) = await town.turns()
    assert turn.state == "answered" and len(town.answers()) == 1
    assert await town.rows(OpenQuestion) == []


@pytest.mark.parametrize(("chat", "opens_with"), [(ADA["id"], ""), (GROUP, f"{BOT} ")])
async def test_an_answer_that_telegram_shows_before_a_kill_is_not_shown_again_by_the_next_start(
    town: Town, monkeypatch: pytest.MonkeyPatch, chat: int, opens_with: str
) -> None:
    long = " ".join(f"Water plant {number} twice a week." for number in range(300))
    town.answerer.scripts = [[long]]
    with monkeypatch.context() as killed:
        _write_nothing_down_once(town, killed, lambda: town.answers(chat))
        town.api.write(f"{opens_with}When do I plant?", by=ADA, **_where(chat))
        await town.api.until(lambda: town.answers(chat))
        await town.end()
    await town.begin()
    await town.idle()
    said = [message["text"] for message in town.api.said(chat)]
    assert len(said) == 3 and " ".join(said) == long
    assert await town.rows(OpenQuestion) == []


async def test_of_an_answer_whose_message_was_not_written_down_before_a_kill_no_more_than_a_beginning_stays(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.answerer.scripts = [["Plant them after the last frost, in May."]]
    with monkeypatch.context() as killed:
        _write_nothing_down_once(town, killed, lambda: town.api.said(ADA["id"]), fault=RuntimeError)
        town.api.write("When do I plant?", by=ADA)
        await town.api.until(lambda: town.api.said(ADA["id"]))
        await town.end()
    await town.begin()
    await town.idle()
    said = [message["text"] for message in town.api.said(ADA["id"])]
    assert said == ["Plant them after …", "Plant them after the last frost, in May."]


@pytest.mark.parametrize(("first", "opens_with"), [(3000, ""), (-3100, f"{BOT} ")])
async def test_of_many_answers_at_once_a_kill_leaves_few_beginnings(
    town: Town, monkeypatch: pytest.MonkeyPatch, first: int, opens_with: str
) -> None:
    chats = range(first, first + 30)
    town.answerer.scripts = [["Plant them after the last frost, in May."]] * 30
    with monkeypatch.context() as killed:
        killed.setattr("bot.platforms.telegram.application.STOP_S", 0.0)
        killed.setattr(live_answers, "DELIVERY_S", 0.0)
        town.api.holds["sendMessage"] = asyncio.Event()  # so none can be written down
        for chat in chats:
            where = {} if chat > 0 else {"chat": group(chat, "Gardeners")}
            town.api.write(f"{opens_with}When do I plant?", by=person(abs(chat), "Asking"), **where)
        async with asyncio.timeout(60):
            while sum(turn.state == "answered" for turn in await town.turns()) < len(chats):
                await asyncio.sleep(0)
        await town.api.until(lambda: len(town.api.made("sendMessage")) >= BEGUN_AT_ONCE)
        await town.end()
    del town.api.holds["sendMessage"]
    await town.begin()
    await town.api.until(lambda: all(town.answers(chat) for chat in chats))
    await town.idle()
    said = [message["text"] for chat in chats for message in town.api.said(chat)]
    assert len(said) - len(chats) <= BEGUN_AT_ONCE
    assert await town.rows(OpenQuestion) == []


async def test_an_answer_is_shown_whole_although_the_record_cannot_take_which_message_it_is(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        _write_nothing_down_once(town, away, lambda: town.api.said(ADA["id"]))
        town.api.write("When do I plant?", by=ADA)
        await town.api.until(town.answers)
    assert len(town.api.said(ADA["id"])) == 1


@pytest.mark.parametrize(("chat", "opens_with"), [(ADA["id"], ""), (GROUP, f"{BOT} ")])
@pytest.mark.parametrize("reads", [True, False], ids=["nothing is written", "nothing is read either"])
async def test_who_asks_while_the_record_goes_away_is_promised_the_answer_and_gets_it_in_that_message(
    town: Town, monkeypatch: pytest.MonkeyPatch, chat: int, opens_with: str, reads: bool
) -> None:
    monkeypatch.setattr("bot.record_away.PAUSES_S", (0.0,))
    session, delivered = town.database.session, False

    def away(*, read_only: bool = False) -> Any:
        nonlocal delivered
        if delivered and not (reads and read_only):
            raise DatabaseLocked("The record is away.")
        delivered = delivered or not read_only
        return session(read_only=read_only)

    with monkeypatch.context() as gone:
        gone.setattr(town.database, "session", away)
        town.api.write(f"{opens_with}When do I plant?", by=ADA, **_where(chat))
        await town.api.until(lambda: [*town.api.said(chat), *town.api.drafts.get(chat, [])])
    await town.api.until(lambda: town.answers(chat))
    await town.idle()
    assert [message["text"] for message in town.api.said(chat)] == [(await town.turns())[0].answer.strip()]


async def test_no_question_that_telegram_has_told_is_lost_by_the_end(town: Town) -> None:
    people = [person(2000 + number, "Asking") for number in range(20)]
    town.hold()
    for one in people:
        town.api.write("When do I plant?", by=one)
    await town.api.until(lambda: not town.api.pending)
    await town.end()
    town.release()
    await town.begin()
    await town.api.until(lambda: all(town.answers(one["id"]) for one in people))


async def test_nothing_is_confirmed_to_telegram_before_it_is_written_down(town: Town) -> None:
    async with town.database.session() as session:  # a database that is busy for a moment
        await journal.member(session, "telegram", "somebody")
        people = [person(2000 + number, "Asking") for number in range(5)]
        for one in people:
            town.api.write("When do I plant?", by=one)
        await town.api.until(lambda: any(call.answered.get("result") for call in town.api.made("getUpdates")))
        for _ in range(1000):  # turns of the loop in which it could confirm them
            await asyncio.sleep(0)
        assert len(town.api.pending) == len(people)
    await town.api.until(lambda: all(town.answers(one["id"]) for one in people))


async def test_what_a_killed_process_had_written_down_is_done_by_the_next(quiet_town: Town) -> None:
    town = quiet_town
    await town.begin()
    answer = await town.ask("How?", by=BEN)
    await town.end()
    thumb, question = town.tapped(answer, "👍", by=ADA), town.written("When do I plant?", by=ADA)
    await town.leave_unfinished(thumb, question)
    await town.begin()
    await town.api.until(town.answers)
    await town.idle()
    await town.end()
    await town.begin()
    await town.idle()
    assert await town.votes() == [(1, "", "")]
    assert [turn.question for turn in await town.turns()] == ["How?", "When do I plant?"]
    assert len(town.answers()) == 1
    assert all(row.payload == row.pseudonym == "" for row in await town.rows(IncomingUpdate))


async def test_a_command_that_a_kill_cut_off_is_not_done_twice_and_its_member_is_told(
    quiet_town: Town,
) -> None:
    town = quiet_town
    rollback = town.written("/adapter rollback", by=ADMIN, chat=GARDEN)
    await town.leave_unfinished(rollback, begun=True)
    await town.begin()
    await town.heard("I was restarted in the middle of this.", GROUP)
    await town.idle()
    assert len(town.api.said(GROUP)) == 1


async def test_what_was_done_while_the_record_failed_is_not_done_again_by_the_next_start(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.platforms.telegram.intake.FINISH_AGAIN_S", (0.0,))
    session, failed = town.database.session, False

    def fails_once(*, read_only: bool = False) -> Any:
        nonlocal failed
        if town.api.said(ADA["id"]) and not failed and not read_only:
            failed = True
            raise DatabaseLocked("The record is locked.")
        return session(read_only=read_only)

    monkeypatch.setattr(town.database, "session", fails_once)
    town.api.write("/about", by=ADA)
    await town.api.until(lambda: town.api.said(ADA["id"]))
    await town.idle()
    (update,) = await town.rows(IncomingUpdate)
    assert failed and update.handled_at is not None


async def test_a_command_that_is_delivered_again_is_done_once(town: Town) -> None:
    rollback = town.written("/adapter rollback", by=ADMIN, chat=GARDEN)
    town.api.deliver(rollback)
    await town.api.until(lambda: town.api.said(GROUP))
    await town.idle()
    await town.end()
    await town.begin()
    town.api.deliver(rollback)
    await town.ask("And basil?", by=BEN)
    assert len(town.api.said(GROUP)) == 1


async def test_an_update_that_nobody_understands_is_left_out_and_its_words_stay_out_of_the_log(
    town: Town,
) -> None:
    broken = town.written("My secret?", by=ADA)
    del broken["message"]["chat"]["type"]
    with capture_logs() as logged:
        town.api.deliver(broken)
        assert await town.bot.intake.take(["My secret?", {"message": {"text": "My secret?"}}]) is None
        await town.ask("When do I plant?", by=BEN)
    assert [line["log_level"] for line in logged if line["event"] == "an update could not be understood"] == [
        "error"
    ]
    assert "secret" not in str(logged)
    assert "secret" not in str(await town.rows(IncomingUpdate))


async def test_an_answer_that_telegram_would_not_take_is_brought_once_it_does(
    quiet_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_answers, "RETRY_AFTER_S", (0.0,))
    monkeypatch.setattr(catch_up, "LOOK_EVERY_S", 0.2)
    town = quiet_town
    town.api.faults = [Fault("sendMessage", 502, "Bad Gateway", stays=True)]
    await town.begin()
    town.api.write("When do I plant?", by=ADA)
    await town.api.until(lambda: len(town.api.made("sendMessage")) > 2)
    town.api.faults = []
    await town.api.until(town.answers)
    await town.idle()
    assert len(town.answers()) == 1 and len(town.answerer.asked) == 1


async def test_the_end_does_not_wait_for_an_answer_that_was_just_begun_anew(town: Town) -> None:
    town.hold()
    town.api.write("Tomatos?", by=ADA)
    await town.api.until(lambda: town.api.drafts.get(ADA["id"]))
    (live,) = town.bot.context.answers.all()
    live.follow("Tomatoes?")
    await town.end()
    town.release()
    await town.begin()
    await town.api.until(town.answers)
    assert [turn.question for turn in await town.turns()] == ["Tomatoes?"]


async def test_in_a_group_the_message_that_was_begun_is_finished(town: Town) -> None:
    town.hold()
    town.api.write(f"{BOT} When do I plant?", by=ADA, chat=GARDEN)
    (begun,) = await town.api.until(lambda: town.api.said(GROUP))
    async with asyncio.timeout(60):  # Telegram has it a moment before the bot has noted which message it is
        while not any(one.drawn for one in await town.rows(OpenQuestion)):
            pass
    await town.end()
    town.release()
    await town.begin()
    await town.api.until(lambda: town.answers(GROUP))
    (answer,) = town.api.said(GROUP)
    assert answer["message_id"] == begun["message_id"]


async def test_a_question_delivered_twice_is_answered_once(town: Town) -> None:
    await town.ask("When do I plant?")
    town.api.update(message=town.api.messages[ADA["id"], 1])
    await town.ask("And basil?", by=BEN)
    assert len(town.answers()) == 1 and len(await town.turns()) == 2


async def test_a_tap_delivered_again_after_a_crash_takes_no_vote_back(town: Town) -> None:
    tap = town.tapped(await town.ask("When do I plant?"), "👍", by=ADA)
    town.api.deliver(tap)
    await town.toast(tap["callback_query"]["id"])
    await town.end()
    await town.begin()
    town.api.deliver(tap)
    await town.ask("And basil?", by=BEN)
    assert await town.votes() == [(1, "", "")]


async def test_a_question_costs_three_transactions_before_its_first_word(town: Town) -> None:
    await town.ask(f"{BOT} So that the chat is known?", chat=GARDEN)
    await town.menu_set()
    town.bot.context.communities.forget(str(GROUP))
    town.hold(after=0)
    with counted(town.database) as transactions:
        town.api.write(f"{BOT} When do I plant?", by=BEN, chat=GARDEN, reply_to=town.answers(GROUP)[0])
        await town.api.until(lambda: len(town.answerer.asked) == 2)
        assert transactions.begun == 3, "the update, what the record says about it, and the question"
    town.release()


async def test_after_an_absence_young_questions_are_answered_and_old_ones_get_one_apology(
    quiet_town: Town,
) -> None:
    town = quiet_town
    for number in range(5):
        town.api.write(f"Old question {number}?", by=ADA, age=2 * HOUR)
    town.api.write("Young question?", by=BEN, age=60)
    town.api.write("Another young one?", by=BEN, age=50)
    await town.begin()
    await town.api.until(lambda: len(town.answers(BEN["id"])) == 2)
    await town.idle()
    told = [message["text"] for message in town.api.said(ADA["id"])]
    assert told == ["I was away when you asked. Ask again if it still matters."]
    assert {turn.question for turn in await town.turns()} == {"Young question?", "Another young one?"}


async def test_an_answer_begun_before_a_long_absence_says_that_it_will_not_be_finished(town: Town) -> None:
    town.hold()
    town.api.write(f"{BOT} When do I plant?", by=ADA, chat=GARDEN)
    async with asyncio.timeout(60):
        while not any(one.drawn for one in await town.rows(OpenQuestion)):
            pass
    (begun,) = town.api.said(GROUP)
    await town.end()
    town.release()
    async with town.database.session() as session:
        turn = await session.get_one(Turn, 1)
        turn.asked_at = now() - timedelta(seconds=2 * HOUR)
    await town.begin()
    await town.idle()
    (ended,) = town.api.said(GROUP)
    assert ended["message_id"] == begun["message_id"] and "reply_markup" not in ended
    assert ended["text"] == "I was away when you asked. Ask again if it still matters."


async def test_two_pollers_end_with_a_clear_message(town: Town) -> None:
    said = "Conflict: terminated by other getUpdates request"
    town.api.faults = [Fault("getUpdates", 409, said, stays=True)]
    town.api.write("wake up", by=ADA)
    with pytest.raises(TelegramRefused, match="Another process fetches this Telegram bot's updates"):
        await asyncio.wait_for(town.running, 20)


async def test_one_conflict_is_only_the_former_process_going(town: Town) -> None:
    town.api.faults = [Fault("getUpdates", 409, "Conflict: terminated by other getUpdates request")]
    await town.ask("When do I plant?")


async def test_a_wrong_token_says_where_to_get_the_right_one(town: Town) -> None:
    wrong = town.settings.model_copy(update={"token": type(town.settings.token)("43:wrong")})
    with pytest.raises(TelegramRefused, match="@BotFather"):
        await run_telegram(wrong, town.core, town.assistant, town.retrainer)


# by webhook


async def test_by_webhook_only_who_knows_the_secret_is_heard(quiet_town: Town) -> None:
    town = quiet_town
    port = _free_port()
    town.settings = town.settings.model_copy(
        update={"webhook_url": f"http://127.0.0.1:{port}/hook", "webhook_port": port}
    )
    await town.begin()
    await town.api.until(lambda: town.api.webhook)
    await _listens(port)
    town.api.write("I am an impostor?", by=BEN)
    assert await town.api.push(secret="guess") == [403]
    town.api.write("When do I plant?", by=ADA)
    assert await town.api.push() == [200]
    await town.api.until(town.answers)
    assert [turn.question for turn in await town.turns()] == ["When do I plant?"]
    assert town.api.made("getUpdates") == []


async def test_a_webhook_address_that_telegram_refuses_is_named(quiet_town: Town) -> None:
    settings = quiet_town.settings.model_copy(update={"webhook_url": "ftp://x", "webhook_port": _free_port()})
    with pytest.raises(TelegramRefused, match="THUMBLOOP_TELEGRAM__WEBHOOK_URL"):
        await run_telegram(settings, quiet_town.core, quiet_town.assistant, quiet_town.retrainer)


async def test_a_taken_port_is_named_with_its_setting(quiet_town: Town) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = quiet_town.settings.model_copy(
            update={"webhook_url": "https://example.org/hook", "webhook_port": port}
        )
        with pytest.raises(PortTaken, match="THUMBLOOP_TELEGRAM__WEBHOOK_PORT"):
            await run_telegram(settings, quiet_town.core, quiet_town.assistant, quiet_town.retrainer)


# chats that close and move


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)
async def test_a_group_that_becomes_a_supergroup_keeps_its_settings_and_its_record(town: Town) -> None:
    old, new = group(-55, "Small", "group"), group(-100555, "Small")
    await town.set("-55", persona="You are a gardener.")
    await town.ask(f"{BOT} How?", chat=old)
    town.api.write("Where are we now?", by=BEN, chat=new)  # so that the new chat is known before the move
    town.api.write("", by=ADMIN, chat=old, migrate_to_chat_id=new["id"])
    town.api.write("", by=ADMIN, chat=new, migrate_from_chat_id=old["id"])
    await town.ask(f"{BOT} And now?", chat=new)
    rows = {row.external_id: row.persona for row in await town.rows(Community)}
    first, second = await town.turns()
    assert rows["-100555"] == "You are a gardener." and "-55" not in rows
    assert first.community_id == second.community_id


async def test_an_answer_on_its_way_follows_its_group_into_the_supergroup(town: Town) -> None:
    old, new = group(-55, "Small", "group"), -100555
    town.api.faults = [
        Fault("sendMessage", 400, "Bad Request: group chat was upgraded to a supergroup chat", chat=-55,
              parameters={"migrate_to_chat_id": new}, stays=True)
    ]  # fmt: skip
    town.api.write(f"{BOT} How?", by=ADA, chat=old)
    await town.api.until(lambda: town.answers(new))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (403, "Forbidden: bot was blocked by the user"),
        (400, "Bad Request: chat not found"),
        (400, "Bad Request: not enough rights to send text messages to the chat"),
    ],
)
async def test_where_we_may_not_write_we_stop_quietly(town: Town, code: int, why: str) -> None:
    town.api.faults = [
        Fault(method, code, why, chat=ADA["id"], stays=True) for method in ("sendMessage", "sendMessageDraft")
    ]
    town.api.write("When do I plant?", by=ADA)
    await town.idle()
    await town.api.until(lambda: town.api.made("sendMessage", ADA["id"]))
    await town.idle()
    assert len(town.api.made("sendMessage", ADA["id"])) == 1, "a closed chat is not knocked at again"
    await town.ask("And I?", by=BEN)


async def test_removed_from_a_group_the_bot_stops_what_it_was_writing(town: Town) -> None:
    town.hold()
    town.api.write(f"{BOT} When do I plant?", by=ADA, chat=GARDEN)
    await town.api.until(lambda: town.api.said(GROUP))
    me = {"id": 42, "is_bot": True, "first_name": "Thumbloop"}
    town.api.update(
        my_chat_member={
            "chat": GARDEN,
            "from": ADMIN,
            "date": int(town.api.clock()),
            "old_chat_member": {"status": "member", "user": me},
            "new_chat_member": {"status": "kicked", "user": me, "until_date": 0},
        }
    )
    await town.idle()
    (turn,) = await town.turns()
    assert turn.state == "cancelled"


async def test_an_answers_message_taken_away_is_not_written_anew(town: Town) -> None:
    town.hold()
    town.api.write(f"{BOT} When do I plant?", by=ADA, chat=GARDEN)
    (growing,) = await town.api.until(lambda: town.api.said(GROUP))
    del town.api.messages[GROUP, growing["message_id"]]
    town.release()
    await town.idle()
    assert town.api.said(GROUP) == []


def _write_nothing_down_once(
    town: Town,
    monkeypatch: pytest.MonkeyPatch,
    shown: Callable[[], Any],
    fault: type[Exception] = DatabaseLocked,
) -> None:
    """From the moment on that something is shown, nothing is written down: what a killed process leaves."""
    monkeypatch.setattr(live_answers, "DELIVERY_S", 0.0)
    monkeypatch.setattr(live_answers, "RETRY_AFTER_S", ())
    session = town.database.session

    def dead(*, read_only: bool = False) -> Any:
        if shown() and not read_only:
            raise fault("The process is dead.")
        return session(read_only=read_only)

    monkeypatch.setattr(town.database, "session", dead)


def _where(chat: int) -> dict[str, Any]:
    return {"chat": GARDEN} if chat == GROUP else {}


async def _listens(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
