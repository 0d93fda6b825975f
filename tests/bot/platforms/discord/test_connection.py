"""The bot over real HTTP and a real gateway: rate limits, failures, lost connections, refusals, floods."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yarl
from discord.backoff import ExponentialBackoff
from discord.gateway import DiscordWebSocket
from discord.http import Route
from pydantic import SecretStr
from structlog.testing import capture_logs

from bot.assistant import Assistant
from bot.core import Core
from bot.health import Component
from bot.platforms.discord.catch_up import HEARD
from bot.platforms.discord.client import run_discord
from bot.platforms.discord.errors import DiscordRefused
from bot.settings import DiscordSettings
from feedback import journal
from feedback.database import Database
from tests.bot.platforms.discord.conftest import every_turn
from tests.doubles.discord_model import SteeredAnswerer
from tests.doubles.discord_server import TOKEN, DiscordServer, discord_server
from tests.doubles.retrainer import Retrainer
from tests.transactions import counted


@pytest.fixture(autouse=True)
def api_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the library's API base and gateway back afterwards."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)


def settings(server: DiscordServer, token: str = TOKEN) -> DiscordSettings:
    return DiscordSettings(token=SecretStr(token), api_url=f"{server.url}/api/v10")


@asynccontextmanager
async def running(
    server: DiscordServer, core: Core, assistant: Assistant, chosen: DiscordSettings | None = None
) -> AsyncIterator[None]:
    """The bot, connected."""
    before = server.connections
    task = asyncio.create_task(run_discord(chosen or settings(server), core, assistant, Retrainer()))
    try:
        connected = asyncio.create_task(server.until(lambda: server.connections > before))
        await asyncio.wait({task, connected}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def thumbs(message: dict[str, object]) -> bool:
    return "tl1:up:" in str(message["components"])


async def test_a_wrong_token_says_where_to_get_the_right_one(core: Core, assistant: Assistant) -> None:
    async with discord_server() as server:
        with pytest.raises(DiscordRefused, match="THUMBLOOP_DISCORD__TOKEN"):
            await run_discord(settings(server, "wrong.token.here"), core, assistant, Retrainer())


async def test_a_missing_message_content_intent_says_where_to_switch_it_on(
    core: Core, assistant: Assistant
) -> None:
    async with discord_server(message_content_allowed=False) as server:
        with pytest.raises(DiscordRefused, match="Message Content Intent"):
            await run_discord(settings(server), core, assistant, Retrainer())


async def test_edits_keep_to_the_rate_limit_that_discord_reports(
    core: Core, assistant: Assistant, answerer: SteeredAnswerer
) -> None:
    answerer.scripts = [["word word word " for _ in range(24)]]
    answerer.slow_s = 0.05
    async with discord_server(edits=5, window_s=1.0) as server, running(server, core, assistant):
        await server.say("A long story?")
        await server.until(lambda: [one for one in server.written() if thumbs(one)])

    (answer,) = server.written()
    edits = [call for call in server.calls if call.method == "PATCH"]
    assert answer["content"] == ("word " * 72).strip()
    assert len(edits) >= 3, "it streamed"
    assert all(call.status == 200 for call in edits), "and was never refused for haste"
    words = [len(call.body["content"].split()) for call in edits]
    growth = [later - earlier for earlier, later in itertools.pairwise(words)]
    assert statistics.median(growth) > 3, "spread over the window, not spent on single pieces at once"


async def test_a_429_is_waited_out_and_the_final_text_lands(core: Core, assistant: Assistant) -> None:
    async with discord_server() as server, running(server, core, assistant):
        server.fail("PATCH /channels", 429, retry_after=0.1, **{"global": False})
        server.fail("POST /channels/200/messages", 429, retry_after=0.1, **{"global": False})
        await server.say("When do I plant tomatoes?")
        await server.until(lambda: [one for one in server.written() if thumbs(one)])
    assert len(server.written()) == 1


async def test_a_refusal_that_was_none_neither_doubles_the_answer_nor_cuts_it(
    core: Core, assistant: Assistant
) -> None:
    async with discord_server() as server, running(server, core, assistant):
        server.fail("POST /channels/200/messages", 503, done=True)
        await server.say("When do I plant tomatoes?")
        await server.until(lambda: [one for one in server.written() if thumbs(one)])
        (turn,) = await every_turn(core.database)
    assert [one["content"] for one in server.written()] == [turn.answer.strip()]


async def test_an_answer_goes_on_over_a_lost_connection(
    core: Core, assistant: Assistant, answerer: SteeredAnswerer, database: Database
) -> None:
    answerer.hold_after = 2
    async with discord_server() as server, running(server, core, assistant):
        await server.say("Before?")
        await server.until(lambda: server.written())
        await server.drop_connection()
        await server.say("Meanwhile?", by=2)
        answerer.go.set()
        await server.until(lambda: server.resumed == 1)
        await server.until(lambda: len([one for one in server.written() if thumbs(one)]) == 2)
        assert server.connections == 1, "it resumed"
    assert {turn.question: turn.state for turn in await every_turn(database)} == {
        "Before?": "answered",
        "Meanwhile?": "answered",
    }


async def test_a_stopped_service_leaves_its_open_question_to_the_next(
    core: Core, assistant: Assistant, answerer: SteeredAnswerer, database: Database
) -> None:
    answerer.hold_after = 2
    async with discord_server() as server:
        async with running(server, core, assistant):
            await server.say("When do I plant tomatoes?")
            await server.until(lambda: server.written())
        assert [turn.state for turn in await every_turn(database)] == ["asked"]

        answerer.hold_after = None
        async with running(server, core, assistant):
            await server.until(lambda: [one for one in server.written() if thumbs(one)])
    assert len(server.written()) == 1
    assert [turn.state for turn in await every_turn(database)] == ["answered"]


async def test_what_is_asked_while_the_service_stops_is_answered_by_the_next(
    core: Core, assistant: Assistant, answerer: SteeredAnswerer, database: Database
) -> None:
    answerer.hold_after = 2
    async with discord_server() as server:
        async with running(server, core, assistant):
            await server.say("Before?")
            await server.until(lambda: server.written())
            async with asyncio.timeout(60):
                while HEARD not in await _bookmarks(database):
                    pass
            meanwhile = asyncio.create_task(server.say("Meanwhile?", by=2))
        await meanwhile
        answerer.hold_after = None
        async with running(server, core, assistant):
            await server.until(lambda: len([one for one in server.written() if thumbs(one)]) == 2)
    assert {turn.question for turn in await every_turn(database)} == {"Before?", "Meanwhile?"}


async def _bookmarks(database: Database) -> dict[str, str]:
    async with database.session(read_only=True) as session:
        return await journal.bookmarks(session, "discord")


async def test_an_answer_of_discord_that_breaks_off_loses_no_question_of_an_absence(
    core: Core, assistant: Assistant, database: Database
) -> None:
    async with discord_server() as server:
        async with running(server, core, assistant):
            await _until_heard(database)
        await server.say("Meanwhile?", by=2)
        server.breaks_off["GET /channels/200/messages"] = 2
        async with running(server, core, assistant):
            await server.until(lambda: [one for one in server.written() if thumbs(one)])
            async with asyncio.timeout(60):
                while "unread:200" in await _bookmarks(database):
                    await asyncio.sleep(0.01)


async def test_a_question_of_an_absence_is_answered_however_much_was_said_before_it(
    core: Core, assistant: Assistant, database: Database
) -> None:
    async with discord_server() as server:
        async with running(server, core, assistant):
            await _until_heard(database)
        for number in range(501):
            server.talk(f"Just talk {number}", by=3)
        await server.say("Meanwhile?", by=2)
        async with running(server, core, assistant):
            await server.until(lambda: [one for one in server.written() if thumbs(one)])


async def test_a_channel_that_cannot_be_read_keeps_its_place_while_all_else_moves_on(
    core: Core, assistant: Assistant, database: Database
) -> None:
    async with discord_server() as server:
        async with running(server, core, assistant):
            await _until_heard(database)
        before = await _bookmarks(database)
        question = await server.say("Meanwhile?", by=2)
        server.breaks_off["GET /channels/200/messages"] = 1_000_000
        with capture_logs() as logged:
            async with running(server, core, assistant):
                async with asyncio.timeout(60):
                    while (marks := await _bookmarks(database))[HEARD] == before[HEARD]:
                        await asyncio.sleep(0.01)
                await _eventually(lambda: "Discord channel 200" in _down(core))
        assert int(before[HEARD]) <= int(marks["unread:200"]) < int(question["id"]) < int(marks[HEARD])
        assert any(line.get("channel") == 200 for line in logged)

        server.breaks_off.clear()
        async with running(server, core, assistant):
            await server.until(lambda: [one for one in server.written() if thumbs(one)])


async def test_a_message_that_cannot_be_understood_keeps_no_other_from_being_answered(
    core: Core, assistant: Assistant, database: Database
) -> None:
    async with discord_server() as server:
        async with running(server, core, assistant):
            await _until_heard(database)
        await server.say("Before?", by=2)
        del (await server.say("Nobody can read me?", by=3))["type"]
        await server.say("After?", by=4)
        async with running(server, core, assistant):
            await server.until(lambda: len([one for one in server.written() if thumbs(one)]) == 2)
    assert {turn.question for turn in await every_turn(database)} == {"Before?", "After?"}


async def test_commands_that_discord_refuses_are_named_and_mentions_are_answered(
    core: Core, assistant: Assistant
) -> None:
    async with discord_server() as server:
        errors = {"0": {"name": {"_errors": [{"code": "NAME", "message": "This name is taken."}]}}}
        server.fail("PUT /applications", 400, stays=True, code=50035, errors=errors)
        async with running(server, core, assistant):
            await server.say("When do I plant tomatoes?")
            await server.until(lambda: [one for one in server.written() if thumbs(one)])
            why = await _eventually(lambda: _down(core).get("Discord commands"))
    assert "did not take the slash commands" in why and "This name is taken." in why


async def test_an_event_that_cannot_be_understood_ends_nothing(core: Core, assistant: Assistant) -> None:
    async with discord_server() as server, running(server, core, assistant):
        private = dict(await server.say("Before?"), guild_id=None)
        with capture_logs() as logged:
            await server.dispatch("MESSAGE_CREATE", private)
            await server.say("After?", by=2)
            await server.until(lambda: len([one for one in server.written() if thumbs(one)]) == 2)
        assert server.connections == 1
    (line,) = [line for line in logged if line.get("event_name") == "MESSAGE_CREATE"]
    assert "Before" not in str(line)


async def test_a_connection_that_begins_with_what_nobody_understands_is_begun_anew(
    core: Core, assistant: Assistant
) -> None:
    async with discord_server(ready_lacks="shard") as server:
        watched = core.supervisor.watch(
            "Discord",
            lambda: run_discord(settings(server), core, assistant, Retrainer()),
            says_when_it_runs=True,
        )
        why = await _eventually(lambda: _down(core).get("Discord"))
        assert "unexpected fault" in why and not watched.done()
        server.ready_lacks = ""
        await server.until(lambda: server.connections > 1)
        await server.say("When do I plant tomatoes?")
        await server.until(lambda: [one for one in server.written() if thumbs(one)])
        await _eventually(lambda: Component("Discord", "ok") in core.health.components)
        await core.supervisor.stop()


async def test_a_lost_connection_is_known_until_it_is_back(
    core: Core, assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay", lambda self: 0.1)  # it may draw a minute
    async with discord_server() as server, running(server, core, assistant):
        # where the library tries anew after a second failure, whatever the API named
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(server._gateway_url))
        await _eventually(lambda: Component("Discord", "ok") in core.health.components)
        await server.drop_connection()
        await server.until(lambda: server.resumed == 1)
        await _eventually(lambda: Component("Discord", "ok") in core.health.components)
        server.refuses_connections = True
        await server.drop_connection()
        why = await _eventually(lambda: _down(core).get("Discord"))
    assert "is being renewed" in why


async def test_a_question_costs_three_transactions_at_most_before_its_first_word(
    core: Core, assistant: Assistant, answerer: SteeredAnswerer, database: Database
) -> None:
    async with discord_server() as server, running(server, core, assistant):
        await server.say("So that the channel is known?")
        await server.until(lambda: [one for one in server.written() if thumbs(one)])
        await _until_heard(database)
        answerer.hold_after = 0
        with counted(database) as transactions:
            await server.say("When do I plant tomatoes?", by=2)
            await _eventually(lambda: len(answerer.asked) == 2)
            assert transactions.begun <= 3
        answerer.go.set()


def _down(core: Core) -> dict[str, str]:
    """Why each part of the service is down that is."""
    return {one.name: one.why for one in core.health.components if one.state == "down"}


async def _eventually(holds: Callable[[], Any]) -> Any:
    """Wait until that is true; what it is."""
    async with asyncio.timeout(60):
        while not (found := holds()):
            await asyncio.sleep(0.01)
        return found


async def _until_heard(database: Database) -> None:
    async with asyncio.timeout(60):
        while HEARD not in await _bookmarks(database):
            await asyncio.sleep(0.01)


async def test_discord_out_of_reach_is_waited_for(core: Core, assistant: Assistant) -> None:
    async with discord_server() as server:
        server.fail("GET /users/@me", 503)
        async with running(server, core, assistant):
            await server.say("When do I plant tomatoes?")
            await server.until(lambda: [one for one in server.written() if thumbs(one)])


async def test_a_gateway_of_ones_own_is_taken_instead_of_the_one_that_the_api_names(
    core: Core,
    assistant: Assistant,
) -> None:
    async with discord_server(advertised_gateway="wss://gateway.invalid") as server:
        gateway = server.url.replace("http://", "ws://") + "/gateway"
        chosen = settings(server).model_copy(update={"gateway_url": gateway})
        async with running(server, core, assistant, chosen):
            await server.say("When do I plant tomatoes?")
            await server.until(lambda: [one for one in server.written() if thumbs(one)])


async def test_two_hundred_members_within_a_minute_all_get_an_answer_or_a_reason(
    core: Core, assistant: Assistant, answerer: SteeredAnswerer, database: Database
) -> None:
    all_asked = threading.Event()  # the engine stands still until then: the queue is full on any machine
    standing = answerer._worker.call(lambda engine: all_asked.wait(120))
    async with discord_server(edits=1000, window_s=1.0) as server, running(server, core, assistant):
        asked = [await server.say(f"Question {by}?", by=by) for by in range(1000, 1200)]

        def told() -> dict[str, str]:
            return {
                one["message_reference"]["message_id"]: one["content"]
                for one in server.written()
                if thumbs(one) or one["content"].startswith("I am busy")
            }

        await server.until(lambda: len(answerer.asked) == 200, seconds=120)
        all_asked.set()
        assert await asyncio.wrap_future(standing)
        await server.until(lambda: len(told()) == 200, seconds=120)
    assert set(told()) == {one["id"] for one in asked}
    states = [turn.state for turn in await every_turn(database)]
    assert len(states) == 200 and set(states) == {"answered", "failed"}
    assert states.count("answered") > 0
