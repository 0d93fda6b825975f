"""Telegram's limits: what must arrive arrives, at once where it can, and updates make room for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from bot.platforms.telegram.pacing import Limits, Pacer
from tests.bot.platforms.telegram.conftest import ADA, BEN, BOT, GARDEN, Town
from tests.doubles.telegram_server import Call, Fault, person

GROUP = GARDEN["id"]
FAST = Limits(per_second=400, per_second_in_chat=400, per_minute_in_group=20)


@pytest.mark.parametrize("limits", [FAST], indirect=True)
async def test_a_long_answer_in_a_group_leaves_room_for_the_final_ones(town: Town) -> None:
    town.answerer.scripts = [[f"word{number} " for number in range(24)] for _ in range(12)]
    for number in range(12):
        await town.ask(f"{BOT} Question {number}?", chat=GARDEN)
    updates = [call for call in town.api.calls if call.values.get("chat_id") == GROUP and _is_update(call)]
    assert len(town.answers(GROUP)) == 12
    assert 0 < len(updates) <= 10, "half of the twenty a minute are kept free"


async def test_updates_in_a_group_grow_rarer_and_stop_only_when_the_minute_is_half_full() -> None:
    pacer, sent = Pacer(FAST), []

    async def send() -> bool:
        sent.append(1)
        return True

    pauses = []
    for _ in range(10):
        await pacer.process_request(send, (), {}, "editMessageText", {"chat_id": GROUP}, None)
        pauses.append(pacer.pause(GROUP))
    assert pauses[:9] == sorted(pauses[:9]) and pauses[0] < 1 and 4 < pauses[8] < 7
    assert pauses[9] > 50


@pytest.mark.parametrize("limits", [FAST], indirect=True)
async def test_two_hundred_members_within_a_minute_are_all_answered(town: Town) -> None:
    brief = replace(town.assistant.options.sampling, max_new_tokens=4)
    town.assistant.options = replace(town.assistant.options, sampling=brief)
    people = [person(5000 + number, f"Member {number}") for number in range(200)]
    for one in people:
        town.api.write("When do I plant?", by=one)
    await town.api.until(lambda: all(town.answers(one["id"]) for one in people), seconds=60)
    assert [len(town.answers(one["id"])) for one in people] == [1] * 200
    assert Counter(turn.state for turn in await town.turns()) == {"answered": 200}
    assert all(call.ok for call in town.api.made("sendMessage"))


@pytest.mark.parametrize("limits", [FAST], indirect=True)
async def test_where_half_of_a_groups_minute_is_used_an_answer_takes_one_call_instead_of_two(
    town: Town,
) -> None:
    for number in range(10):
        await town.ask(f"{BOT} Question {number}?", chat=GARDEN)
    before = len(_counted(town))
    await town.ask(f"{BOT} One more?", chat=GARDEN)
    assert [call.method for call in _counted(town)[before:]] == ["sendMessage"]


async def test_a_flood_wait_of_an_update_delays_no_other_chat(town: Town) -> None:
    town.api.faults = [_flood("sendMessageDraft", ADA["id"], 600)]
    town.hold(after=1)
    town.api.write("When do I plant?", by=ADA)
    await town.api.until(lambda: town.api.made("sendMessageDraft", ADA["id"]))
    town.release()
    town.api.write("And I?", by=BEN)
    await town.api.until(lambda: town.answers(BEN["id"]))
    assert town.answers(ADA["id"]) == [], "their chat is closed to us for ten minutes"


async def test_a_final_answer_waits_out_a_flood_wait_and_arrives_once(town: Town) -> None:
    town.api.faults = [_flood("sendMessage", ADA["id"], 1)]
    await town.ask("When do I plant?")
    first, second = town.api.made("sendMessage", ADA["id"])
    assert (first.ok, second.ok) == (False, True)
    assert second.at - first.at >= 1
    assert len(town.answers()) == 1


async def test_updates_are_dropped_while_a_final_answer_waits(town: Town) -> None:
    pacer = town.bot.context.pacer
    town.api.faults = [_flood("sendMessage", GROUP, 600)]
    town.api.write("/about", by=ADA, chat=GARDEN)
    await town.api.until(lambda: town.api.made("sendMessage", GROUP))
    await town.api.until(lambda: pacer.pause(GROUP) > 500)
    assert pacer.pause(BEN["id"]) == 0


async def test_questions_about_members_need_no_room(town: Town) -> None:
    town.api.faults = [_flood("sendMessage", GROUP, 600)]
    town.api.write("/about", by=ADA, chat=GARDEN)
    await town.api.until(lambda: town.api.made("sendMessage", GROUP))
    async with asyncio.timeout(5):
        assert await town.bot.context.bot.get_chat_administrators(GROUP)


async def test_a_fault_of_telegrams_servers_loses_no_answer(town: Town) -> None:
    town.api.faults = [Fault("sendMessage", 502, "Bad Gateway")]
    await town.ask("When do I plant?")
    assert len(town.answers()) == 1


def _flood(method: str, chat: int, seconds: int) -> Fault:
    said = f"Too Many Requests: retry after {seconds}"
    return Fault(method, 429, said, chat=chat, parameters={"retry_after": seconds})


def _is_update(call: object) -> bool:
    return "⏹" in str(getattr(call, "values", {}).get("reply_markup"))


def _counted(town: Town) -> list[Call]:
    return [call for call in town.api.calls if call.method in ("sendMessage", "editMessageText")]
