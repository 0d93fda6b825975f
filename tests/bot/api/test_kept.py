"""What is kept of a question asked through the API, and what serves it, on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from sqlmodel import select
from starlette.types import Receive, Scope, Send

from bot.api.completions import _Events
from bot.api.models import SERVING
from feedback import journal
from feedback.tables import Conversation, Turn
from tests.bot.assembly import BASE, Assembly
from tests.loopback import serving
from training.adapters import deployments, registry

HI: list[Any] = [{"role": "user", "content": "What is LoRA?"}]


async def say(client: AsyncOpenAI, model: str = BASE, messages: Any = HI, **options: Any) -> str:
    answer = await client.chat.completions.create(model=model, messages=messages, **options)
    return answer.choices[0].message.content or ""


async def turns(assembly: Assembly) -> list[Turn]:
    async with assembly.database.session(read_only=True) as session:
        return list((await session.exec(select(Turn).order_by("id"))).all())  # type: ignore[arg-type]


async def test_a_communitys_turn_is_kept_like_any_other(guild: AsyncOpenAI, assembly: Assembly) -> None:
    conversation: Any = [
        {"role": "user", "content": "What is a GPU?"},
        {"role": "assistant", "content": "A fast processor."},
        {"role": "user", "content": "And what is LoRA?"},
    ]
    said = await say(guild, "support@1", conversation)
    (turn,) = await turns(assembly)
    async with assembly.database.session(read_only=True) as session:
        community = await journal.community_of(session, "discord", "guild-1")
    assert community is not None and turn.community_id == community.id
    assert (turn.question, turn.answer, turn.state) == ("And what is LoRA?", said.strip(), "answered")
    assert turn.adapter_id is not None
    # the persona leads where the caller brings no system text, and the earlier messages are in the prompt
    persona = [{"role": "system", "content": "Be brief."}]
    assert turn.prompt_tokens == assembly.answerer.count_tokens([*persona, *conversation])  # type: ignore[list-item]


async def test_a_callers_own_system_text_takes_the_personas_place(
    guild: AsyncOpenAI, client: AsyncOpenAI, assembly: Assembly
) -> None:
    messages: Any = [{"role": "system", "content": "You are a pirate."}, *HI]
    assert await say(guild, "support@1", messages) == await say(client, "support@1", messages)
    (turn,) = await turns(assembly)
    assert turn.prompt_tokens == assembly.answerer.count_tokens(messages)


async def test_requests_share_no_history_and_members_are_pseudonyms(
    guild: AsyncOpenAI, assembly: Assembly
) -> None:
    await say(guild, user="ada")
    await say(guild, user="ada")
    await say(guild, user="ben")
    kept = await turns(assembly)
    assert kept[0].prompt_tokens == kept[1].prompt_tokens
    assert kept[0].member_id == kept[1].member_id != kept[2].member_id
    async with assembly.database.session(read_only=True) as session:
        assert len((await session.exec(select(Conversation))).all()) == 3


async def test_nothing_is_kept_of_a_key_without_a_community(client: AsyncOpenAI, assembly: Assembly) -> None:
    await say(client)
    await say(client, "support@1")
    assert await turns(assembly) == []


async def test_thumbloop_is_whatever_serves_the_keys_community(
    guild: AsyncOpenAI, client: AsyncOpenAI, assembly: Assembly
) -> None:
    async with assembly.database.session() as session:
        community = await journal.community(session, "discord", "guild-1")
        for label, whom in (("support@1", community.id), ("support@2", None)):
            adapter = await registry.find(session, label)
            await deployments.switch(session, adapter, by="test", community_id=whom)
    system: Any = [{"role": "system", "content": "Be kind."}, *HI]
    assert await say(guild, SERVING, system) == await say(client, "support@1", system)
    assert await say(client, SERVING, system) == await say(client, "support@2", system)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_end_of_the_service_is_told_and_nothing_half_is_kept_as_whole(
    guild: AsyncOpenAI, assembly: Assembly, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr("bot.assistant.CLOSING_SECONDS", 0.0)
    asking = asyncio.ensure_future(
        guild.chat.completions.create(model=BASE, messages=HI, max_tokens=450, stream=stream)
    )
    while not await turns(assembly):
        await asyncio.sleep(0)
    if stream:
        response: Any = await asking
        await anext(aiter(response))
    await assembly.assistant.close()
    with pytest.raises(openai.APIError, match="stopping"):
        _ = [chunk async for chunk in response] if stream else await asking
    assert [turn.state for turn in await turns(assembly)] == ["cancelled"]


async def test_a_stream_that_is_hung_up_may_tidy_up() -> None:
    tidied = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        try:
            yield "piece"
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            tidied.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await _Events(pieces())(scope, receive, send)

    async with serving(app) as url, httpx.AsyncClient() as caller:
        async with caller.stream("GET", url) as response:
            await anext(response.aiter_text())
        async with asyncio.timeout(20):
            await tidied.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_up_ends_the_answer(guild: AsyncOpenAI, assembly: Assembly, stream: bool) -> None:
    asking = asyncio.ensure_future(
        guild.chat.completions.create(model=BASE, messages=HI, max_tokens=450, stream=stream)
    )
    if stream:
        response: Any = await asking
        await anext(aiter(response))
        await response.close()
    else:
        while not await turns(assembly):
            await asyncio.sleep(0)
        asking.cancel()
    async with asyncio.timeout(20):
        while (await turns(assembly))[0].state == "asked":
            await asyncio.sleep(0)
    (turn,) = await turns(assembly)
    assert turn.state == "cancelled"
