"""What a reasoning model thinks reaches nobody: not the answer, not the record, not the next prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from transformers import PreTrainedTokenizerFast

from bot.answering.answerer import AnswerRequest, Piece, Sampling
from bot.answering.remote import RemoteAnswerer
from bot.assistant import Assistant, AssistantOptions
from bot.errors import AnsweringFailed
from bot.questions import Finished, Place, Question, TextPiece
from bot.settings import RemoteSettings
from feedback.database import Database
from feedback.tables import Turn
from tests.bot.assembly import core_of
from tests.doubles.openai_server import OpenAIServer, Reply
from tests.loopback import serving

OPTIONS = AssistantOptions(
    persona="plain",
    mode="default",
    sampling=Sampling(max_new_tokens=12),
    history_turns=4,
    max_question_characters=400,
)
THINKING = ("<thi", "nk>\nThey want", " a product.\n</th", "ink>\n", "\n4", "2.")
LONE = ("They want a product.\n", "</think>", "\n42.")

Opener = Callable[..., AbstractAsyncContextManager[RemoteAnswerer]]


@pytest.fixture
def server() -> OpenAIServer:
    return OpenAIServer()


@pytest.fixture
def remote(server: OpenAIServer) -> Opener:
    """Opens an answerer that has met the double."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[RemoteAnswerer]:
        async with serving(server.app) as url:
            answerer = RemoteAnswerer(RemoteSettings(url=f"{url}/v1", retries=0), name="tiny", **options)
            try:
                await answerer.connect()
                yield answerer
            finally:
                await answerer.close()

    return opened


@pytest.fixture
async def assistant(database: Database, remote: Opener, tmp_path: Path) -> AsyncIterator[Assistant]:
    async with remote() as answerer:
        yield Assistant(core_of(database, tmp_path), answerer, OPTIONS)


async def pieces(answerer: RemoteAnswerer) -> list[Piece]:
    request = AnswerRequest([{"role": "user", "content": "How much is 6 times 7?"}])
    return [piece async for piece in answerer.stream(request)]


async def asked(assistant: Assistant, number: int = 1) -> tuple[list[TextPiece], Finished]:
    question = Question(Place("web", "web", "talk"), "ada", str(number), f"How much is 6 times {number}?")
    events = [event async for event in assistant.ask(question)]
    *said, finished = events
    assert isinstance(finished, Finished)
    return [one for one in said if isinstance(one, TextPiece)], finished


async def test_reasoning_comes_apart_from_the_answer(remote: Opener, server: OpenAIServer) -> None:
    server.script = [Reply(words=THINKING)]
    async with remote() as answerer:
        found = await pieces(answerer)
    assert "".join(piece.text for piece in found).strip() == "42."
    assert "".join(piece.reasoning for piece in found).strip() == "They want a product."
    assert found[-1].usage is not None and not any(piece.usage for piece in found[:-1])


async def test_what_a_server_sets_apart_itself_is_no_answer(remote: Opener, server: OpenAIServer) -> None:
    server.script = [Reply(thoughts=("They want", " a product."), words=("4", "2."))]
    async with remote() as answerer:
        found = await pieces(answerer)
    assert "".join(piece.text for piece in found) == "42."
    assert "".join(piece.reasoning for piece in found) == "They want a product."


async def test_a_model_that_closed_what_it_had_not_opened_is_not_shown_thinking_again(
    remote: Opener, server: OpenAIServer
) -> None:
    server.script = [Reply(words=LONE), Reply(words=LONE)]
    async with remote() as answerer:
        first, second = await pieces(answerer), await pieces(answerer)
    assert any(piece.starts_over for piece in first)
    assert not any(piece.starts_over for piece in second)
    assert "".join(piece.text for piece in second).strip() == "42."


async def test_a_template_that_opens_the_block_in_the_prompt_is_known_beforehand(
    remote: Opener, server: OpenAIServer, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = str(tokenizer.chat_template) + "{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}"
    monkeypatch.setattr(tokenizer, "chat_template", opening)
    server.script = [Reply(words=("A pro", "duct.</think>4", "2.")), Reply(words=("At ", "once."))]
    async with remote(tokenizer=tokenizer) as answerer:
        reasoned, direct = await pieces(answerer), await pieces(answerer)
    assert "".join(piece.text for piece in reasoned) == "42."
    assert "".join(piece.text for piece in direct) == "At once."


@pytest.mark.parametrize(
    ("thinking", "told"),
    [("template", None), ("on", {"enable_thinking": True}), ("off", {"enable_thinking": False})],
)
async def test_the_templates_switch_travels_to_the_server(
    remote: Opener, server: OpenAIServer, thinking: str, told: dict[str, bool] | None
) -> None:
    async with remote(thinking=thinking) as answerer:
        await pieces(answerer)
    assert server.asked[0].get("chat_template_kwargs") == told


@pytest.mark.parametrize("words", [THINKING, LONE])
async def test_reasoning_is_neither_kept_nor_sent_back(
    assistant: Assistant, server: OpenAIServer, database: Database, words: tuple[str, ...]
) -> None:
    server.script = [Reply(words=words), Reply()]
    said, finished = await asked(assistant)
    await asked(assistant, 2)
    assert finished.answer == finished.shown == "42."
    shown = ""
    for piece in said:
        shown = piece.text if piece.starts_over else shown + piece.text
    assert shown.strip() == "42."
    async with database.session(read_only=True) as session:
        kept = (await session.exec(select(Turn).order_by(Turn.id))).first()  # type: ignore[arg-type]
    assert kept is not None and kept.answer == "42."
    assert {"role": "assistant", "content": "42."} in server.asked[1]["messages"]
    assert "product" not in str(server.asked[1]["messages"])


async def test_the_switch_shows_reasoning_quoted_above_the_answer_and_keeps_it_nowhere(
    assistant: Assistant, server: OpenAIServer
) -> None:
    server.script = [Reply(words=("<think>One.\n", "Two.</think>", "42."))]
    assistant.options = replace(OPTIONS, show_reasoning=True)
    said, finished = await asked(assistant)
    assert finished.shown == "> One.\n> Two.\n\n42."
    assert "".join(piece.text for piece in said) == finished.shown
    assert "".join(piece.text for piece in said if not piece.is_reasoning) == finished.answer == "42."


async def test_who_gets_nothing_but_reasoning_is_told_so(assistant: Assistant, server: OpenAIServer) -> None:
    server.script = [Reply(words=("<think>They want", " a pro"), finish="length")]
    with pytest.raises(AnsweringFailed, match="thought about this for so long that no answer came of it"):
        await asked(assistant)
