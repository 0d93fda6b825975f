"""What every Answerer promises, held by the engine in this process and by the engine behind HTTP alike.

With `make test-vllm URL=…` the server at that address takes the place of the engine behind HTTP; it serves
the default model in fp32, loads adapters at run time, and sees this machine's folders (docs/vllm.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from bot.answering.answerer import AdapterFiles, Answerer, AnswerRequest, Message, Piece, Sampling
from bot.answering.remote import RemoteAnswerer
from bot.api.app import api_app
from bot.errors import AdapterRefused, PromptTooLong, Stopping
from bot.settings import RemoteSettings
from tests.bot.assembly import BARE, BARE_LINE, BASE, Assembly
from tests.doubles.tiny_model import CONTEXT, write_tiny_model
from tests.loopback import serving

HI: list[Message] = [{"role": "user", "content": "What is LoRA?"}]


SERVER = os.environ.get("THUMBLOOP_TEST_SERVER", "")
"""The base URL of a running server, if one is to be tested."""


@pytest.fixture(scope="module")
def model_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if SERVER:
        default: Path = request.getfixturevalue("default_model_folder")
        return default
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def dialect() -> str:
    """Where adapters are registered does not matter here."""
    return "sqlite"


@pytest.fixture
async def assembly(database: Any, tmp_path: Path, model_folder: Path) -> AsyncIterator[Assembly]:
    made = Assembly(database, tmp_path / "data", model_folder)
    yield made
    await made.answerer.close()


@pytest.fixture
async def adapters(assembly: Assembly) -> list[AdapterFiles]:
    """Two adapters that may serve."""
    return [assembly.files(await assembly.add_adapter(seed=seed)) for seed in (1, 2)]


@pytest.fixture
async def far(assembly: Assembly) -> AsyncIterator[Answerer]:
    """The same engine asked through the API, or the server that is to be tested."""
    async with contextlib.AsyncExitStack() as stack:
        if SERVER:
            settings = RemoteSettings(url=SERVER, api_key=os.environ.get("THUMBLOOP_TEST_SERVER_KEY", ""))
        else:
            app = api_app(assembly.core, assembly.assistant, [BARE_LINE])
            url = await stack.enter_async_context(serving(app))
            settings = RemoteSettings(url=f"{url}/v1", api_key=BARE, adapters="at-start", retries=0)
        remote = RemoteAnswerer(
            settings, name=BASE, tokenizer=AutoTokenizer.from_pretrained(assembly.model_folder)
        )
        await remote.connect()
        yield remote
        await remote.close()


@pytest.fixture(params=["remote"] if SERVER else ["local", "remote"])
def answerer(request: pytest.FixtureRequest, assembly: Assembly) -> Answerer:
    if request.param == "local":
        return assembly.answerer
    far: Answerer = request.getfixturevalue("far")
    return far


async def pieces(
    answerer: Answerer, adapter: AdapterFiles | None = None, messages: list[Message] = HI, **sampling: Any
) -> list[Piece]:
    request = AnswerRequest(messages, adapter, Sampling(**({"max_new_tokens": 12} | sampling)))
    return [piece async for piece in answerer.stream(request)]


async def answer(answerer: Answerer, adapter: AdapterFiles | None = None, **options: Any) -> str:
    return "".join(piece.text for piece in await pieces(answerer, adapter, **options))


async def test_the_last_piece_and_no_other_has_the_usage(answerer: Answerer) -> None:
    *others, last = await pieces(answerer)
    assert others and all(piece.usage is None for piece in others)
    assert last.usage is not None
    assert (last.usage.answer_tokens, last.usage.finish_reason) == (12, "length")
    assert last.usage.prompt_tokens == answerer.count_tokens(HI)
    assert 0 < last.usage.first_token_s <= last.usage.total_s


async def test_it_knows_its_base_model_and_its_room(answerer: Answerer) -> None:
    assert answerer.base_model == BASE
    assert answerer.context_tokens == CONTEXT or SERVER


async def test_every_question_is_answered_with_its_own_adapter(
    answerer: Answerer, adapters: list[AdapterFiles]
) -> None:
    asked = [None, *adapters, None, *adapters]
    alone = [await answer(answerer, adapter) for adapter in asked[:3]]
    assert len(set(alone)) == 3
    together = await asyncio.gather(*(answer(answerer, adapter) for adapter in asked))
    assert together == [*alone, *alone]


async def test_near_and_far_say_the_same(
    assembly: Assembly, far: Answerer, adapters: list[AdapterFiles]
) -> None:
    options: dict[str, Any] = {"repetition_penalty": 1.3}
    if not SERVER:  # another engine draws other numbers from the same seed
        options |= {"temperature": 1.2, "top_p": 0.9, "seed": 5}
    for adapter in (None, *adapters):
        assert await answer(far, adapter) == await answer(assembly.answerer, adapter)
        assert await answer(far, adapter, **options) == await answer(assembly.answerer, adapter, **options)


async def test_a_seed_repeats_what_was_drawn(answerer: Answerer) -> None:
    drawn = [await answer(answerer, temperature=1.5, seed=seed) for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_a_stop_string_ends_the_answer_and_is_no_part_of_it(
    answerer: Answerer, adapters: list[AdapterFiles]
) -> None:
    whole = await answer(answerer, adapters[0], max_new_tokens=30)
    stop = whole[len(whole) // 2 :][:2]
    *_, last = cut = await pieces(answerer, adapters[0], max_new_tokens=30, stop=(stop,))
    assert "".join(piece.text for piece in cut) == whole[: whole.index(stop)]
    assert last.usage is not None and last.usage.finish_reason == "stop"


async def test_an_answer_ends_where_the_context_does(answerer: Answerer) -> None:
    *_, last = await pieces(answerer, max_new_tokens=2 * answerer.context_tokens)
    assert last.usage is not None
    assert last.usage.prompt_tokens + last.usage.answer_tokens <= answerer.context_tokens
    assert last.usage.finish_reason == "length"


async def test_a_prompt_without_room_for_an_answer_is_refused(answerer: Answerer) -> None:
    long: list[Message] = [{"role": "user", "content": "łódź " * answerer.context_tokens}]
    with pytest.raises(PromptTooLong) as told:
        await pieces(answerer, messages=long)
    assert told.value.tokens == answerer.count_tokens(long)
    assert told.value.allowed == answerer.context_tokens - 1


async def test_a_megabyte_is_refused_without_being_tokenised(answerer: Answerer) -> None:
    with pytest.raises(PromptTooLong) as refused:
        await pieces(answerer, messages=[{"role": "user", "content": "łódź " * 200_000}])
    assert (refused.value.tokens, refused.value.allowed) == (None, answerer.context_tokens - 1)


async def test_an_adapter_that_is_not_there_is_refused_and_the_others_serve_on(
    answerer: Answerer, adapters: list[AdapterFiles], tmp_path: Path
) -> None:
    missing = replace(adapters[0], folder=tmp_path / "nowhere", content_hash="00" * 32)
    for asking in (answerer.load(missing), pieces(answerer, missing)):
        with pytest.raises(AdapterRefused, match="support@1"):
            await asking
    assert await answer(answerer, adapters[0])


async def test_an_adapter_may_be_unloaded_and_asked_for_again(
    answerer: Answerer, adapters: list[AdapterFiles]
) -> None:
    before = await answer(answerer, adapters[0])
    await answerer.unload(adapters[0])
    await answerer.unload(adapters[0])
    assert await answer(answerer, adapters[0]) == before


async def test_an_answer_under_way_outlives_the_unloading_of_its_adapter(
    answerer: Answerer, adapters: list[AdapterFiles]
) -> None:
    whole = await answer(answerer, adapters[0], max_new_tokens=40)
    stream = answerer.stream(AnswerRequest(HI, adapters[0], Sampling(max_new_tokens=40)))
    said = (await anext(stream)).text
    unloading = asyncio.ensure_future(answerer.unload(adapters[0]))
    async for piece in stream:
        said += piece.text
    assert said == whole
    await unloading


async def test_an_answer_that_nobody_wants_any_more_disturbs_no_other(answerer: Answerer) -> None:
    whole = await answer(answerer)
    stream = answerer.stream(AnswerRequest(HI, None, Sampling(max_new_tokens=400)))
    async with contextlib.aclosing(stream):
        await anext(stream)
    assert await answer(answerer) == whole


async def test_a_closed_answerer_says_so(answerer: Answerer) -> None:
    await answerer.check()
    await answerer.close()
    with pytest.raises(Stopping):
        await answerer.check()
    with pytest.raises(Stopping):
        await pieces(answerer)
