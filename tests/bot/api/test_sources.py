"""What an answer of the API says of its sources, beside OpenAI's own fields."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI

from bot.knowledge.knowledge import Knowledge
from feedback import journal
from feedback.passages import Chunk
from tests.bot.assembly import BASE, Assembly
from tests.shelf import shelve

HI: list[Any] = [{"role": "user", "content": "When are tomatoes planted?"}]
TEXT = "Tomatoes are planted after the ice saints."
LINK = "https://example.org/rules"


@pytest.fixture
async def informed(assembly: Assembly) -> Assembly:
    """The assembly with one passage in the key's community, and another in somebody else's."""
    assembly.assistant.knowledge = Knowledge(assembly.database, None)
    async with assembly.database.session() as session:
        ours = await journal.community(session, "discord", "guild-1")
        theirs = await journal.community(session, "discord", "guild-2")
    for community, text in ((ours, TEXT), (theirs, "Tomatoes are planted never.")):
        chunk = Chunk(text, title_path=("Spring",), link=LINK)
        await shelve(
            assembly.database, community.id or 0, chunk, address=LINK, title="Garden rules", kind="url"
        )
    return assembly


async def test_an_answer_names_the_passages_that_stood_in_its_prompt(
    guild: AsyncOpenAI, informed: Assembly
) -> None:
    answer = await guild.chat.completions.create(model=BASE, messages=HI)
    message = answer.choices[0].message
    (citation,) = message.annotations or []
    assert (citation.url_citation.url, citation.url_citation.title) == (LINK, "Garden rules › Spring")
    assert message.model_extra is not None
    assert [source["text"] for source in message.model_extra["sources"]] == [TEXT]


async def test_a_stream_names_them_in_its_last_piece(guild: AsyncOpenAI, informed: Assembly) -> None:
    stream = await guild.chat.completions.create(model=BASE, messages=HI, stream=True)
    last = [piece async for piece in stream][-1].choices[0]
    assert last.finish_reason is not None and last.delta.model_extra is not None
    assert [source["title"] for source in last.delta.model_extra["sources"]] == ["Garden rules › Spring"]


async def test_who_belongs_to_no_community_gets_no_source(client: AsyncOpenAI, informed: Assembly) -> None:
    answer = await client.chat.completions.create(model=BASE, messages=HI)
    assert not answer.choices[0].message.annotations
