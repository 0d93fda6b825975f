"""OpenAI's client, unchanged, against the API: what it gets and what it is refused."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from bot.api.app import api_app
from bot.api.errors import api_error
from bot.api.models import SERVING
from tests.bot.assembly import BARE, BASE, GUILD, GUILD_LINE, Assembly
from tests.loopback import serving

HI: list[Any] = [{"role": "user", "content": "What is LoRA?"}]


@pytest.fixture
def dialect() -> str:
    """What is said here does not depend on the database; `test_kept` runs on each."""
    return "sqlite"


async def say(client: AsyncOpenAI, model: str = BASE, messages: Any = HI, **options: Any) -> str:
    answer = await client.chat.completions.create(model=model, messages=messages, **options)
    return answer.choices[0].message.content or ""


async def streamed(client: AsyncOpenAI, model: str, **options: Any) -> list[Any]:
    stream = await client.chat.completions.create(model=model, messages=HI, stream=True, **options)
    return [chunk async for chunk in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_an_answer_comes_whole_with_its_usage(client: AsyncOpenAI, assembly: Assembly) -> None:
    answer = await client.chat.completions.create(model=BASE, messages=HI, max_tokens=5)
    assert answer.object == "chat.completion" and answer.model == BASE
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == assembly.answerer.count_tokens(HI)
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


async def test_the_stream_says_the_same_as_the_whole(client: AsyncOpenAI) -> None:
    chunks = await streamed(client, "support@1")
    assert text_of(chunks) == await say(client, "support@1")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_the_usage_ends_the_stream_when_it_is_wanted(client: AsyncOpenAI) -> None:
    *others, last = await streamed(client, BASE, stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.completion_tokens == 12
    assert all(chunk.choices and chunk.usage is None for chunk in others)


async def test_two_adapters_stream_at_once_each_its_own_answer(client: AsyncOpenAI) -> None:
    alone = [await say(client, model, max_tokens=120) for model in ("support@1", "support@2", BASE)]
    assert len(set(alone)) == 3
    order: list[str] = []

    async def follow(model: str) -> str:
        stream = await client.chat.completions.create(model=model, messages=HI, max_tokens=120, stream=True)
        said = ""
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                order.append(model)
                said += chunk.choices[0].delta.content
        return said

    together = await asyncio.gather(*(follow(model) for model in ("support@1", "support@2", BASE)))
    assert together == alone
    changes = sum(before != after for before, after in pairwise(order))
    assert changes > 2, "the streams ran one after another, not side by side"


async def test_a_bare_name_is_its_newest_version_and_base_is_the_base_model(
    client: AsyncOpenAI, assembly: Assembly
) -> None:
    newest = await client.chat.completions.create(model="support", messages=HI)
    assert newest.model == "support@2"
    assert newest.choices[0].message.content == await say(client, "support@2")
    assert await say(client, "base") == await say(client, BASE)
    adapter = await assembly.add_adapter("other", seed=3)
    assert await say(client, f"other@1-{adapter.content_hash[:12]}") == await say(client, "other")


async def test_models_are_listed_unless_they_may_not_serve(client: AsyncOpenAI, assembly: Assembly) -> None:
    await assembly.add_adapter("untried", state="candidate")
    await assembly.add_adapter("foreign", base_model="another")
    listed = [model.id async for model in client.models.list()]
    assert listed == [BASE, SERVING, "support@2", "support@1"]
    assert (await client.models.retrieve("support@1")).id == "support@1"


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "support@9",
        "support@1-000000000000",
        "support@x",
        "untried",
        "untried@1",
        "foreign",
        "a\0b",
        "Ü",
    ],
)
async def test_a_model_that_does_not_serve_is_not_found(
    client: AsyncOpenAI, assembly: Assembly, model: str
) -> None:
    await assembly.add_adapter("untried", state="candidate")
    await assembly.add_adapter("foreign", base_model="another")
    with pytest.raises(openai.NotFoundError) as told:
        await say(client, model)
    assert (told.value.code, told.value.param) == ("model_not_found", "model")


async def test_a_damaged_adapter_is_refused_and_the_others_serve_on(
    client: AsyncOpenAI, assembly: Assembly
) -> None:
    (assembly.data / "adapters/support/1/adapter_model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(openai.NotFoundError, match="support@1"):
        await say(client, "support@1")
    assert await say(client, "support@2")


async def test_sampling_is_honoured(client: AsyncOpenAI) -> None:
    drawn = [await say(client, temperature=1.5, seed=seed, max_tokens=20) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    whole = await say(client, "support@1", max_completion_tokens=40)
    stop = whole[len(whole) // 2 :][:3]
    answer = await client.chat.completions.create(
        model="support@1", messages=HI, max_completion_tokens=40, stop=[stop]
    )
    assert answer.choices[0].message.content == whole[: whole.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


async def test_messages_may_come_in_parts_and_from_a_developer(client: AsyncOpenAI) -> None:
    plain = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi there"}]
    parted = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]},
    ]
    assert await say(client, "support@1", plain) == await say(client, "support@1", parted)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": [""]}, None),
        ({"seed": 2**70}, "seed"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "I begin."}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            None,
        ),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    client: AsyncOpenAI, wrong: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        await say(client, **wrong)
    if param is not None:
        assert told.value.param == param
    assert told.value.type == "invalid_request_error"


async def test_what_asks_for_nothing_is_no_reason_to_refuse(client: AsyncOpenAI) -> None:
    neutral: dict[str, Any] = {
        "n": 1,
        "tools": [],
        "presence_penalty": 0,
        "response_format": {"type": "text"},
        "metadata": {"trace": "7"},
    }
    assert await say(client, **neutral) == await say(client)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "null"),
        ([{"type": "image_url", "image_url": {"url": "https://pictures.example/cat.png"}}], "'image_url'"),
        ([{"type": "text", "text": "What is this?"}, {"type": "input_audio"}], "'input_audio'"),
    ],
    ids=["null", "an image", "sound beside text"],
)
async def test_a_message_that_is_no_text_is_refused_with_what_to_send_instead(
    client: AsyncOpenAI, content: Any, sentence: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=f"{sentence}.*send ") as told:
        await say(client, messages=[{"role": "assistant", "content": content}, *HI])
    assert told.value.param == "messages.0.content"


STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{{ m['role'] + m['content'] }}{% endfor %}"
)
BROKEN = "{{ 1 + 'a' }}"


async def test_a_strict_chat_template_gets_neighbours_merged(
    client: AsyncOpenAI, guild: AsyncOpenAI, assembly: Assembly
) -> None:
    assembly.tokenizer.chat_template = STRICT
    split: Any = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello."}, *HI]
    merged: Any = [{"role": "user", "content": "Be kind.\n\nHello.\n\nWhat is LoRA?"}]
    assert await say(client, messages=split) == await say(client, messages=merged)
    assert await say(guild, messages=split)


@pytest.mark.parametrize("key", [BARE, GUILD], ids=["kept nowhere", "kept"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("template", "status", "sentence"),
    [(STRICT, 400, "chat template does not take this conversation"), (BROKEN, 500, "reference [0-9a-f]{8}")],
    ids=["refused by the template", "a template that breaks"],
)
async def test_what_a_template_cannot_take_is_told_and_the_connection_lives(
    url: str, assembly: Assembly, key: str, stream: bool, template: str, status: int, sentence: str
) -> None:
    assembly.tokenizer.chat_template = template
    asked = {"model": BASE, "messages": [{"role": "assistant", "content": "Hello."}, *HI], "stream": stream}
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as caller:
        refused = await caller.post("/v1/chat/completions", json=asked)
        connection = _connection_of(refused)
        after = await caller.get("/v1/models")
        assert _connection_of(after) == connection
    assert (refused.status_code, after.status_code) == (status, 200)
    assert re.search(sentence, refused.json()["error"]["message"])


def _connection_of(answer: httpx.Response) -> Any:
    return answer.extensions["network_stream"].get_extra_info("client_addr")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_too_long_is_told_as_openai_tells_it(
    client: AsyncOpenAI, guild: AsyncOpenAI, stream: bool
) -> None:
    long: Any = [{"role": "user", "content": "long " * 400}, *HI]
    for caller in (client, guild):
        with pytest.raises(openai.BadRequestError) as told:
            await caller.chat.completions.create(model=BASE, messages=long, stream=stream)
        assert told.value.code == "context_length_exceeded"


async def test_a_full_queue_is_a_rate_limit_that_says_when_to_come_back(
    assembly: Assembly,
) -> None:
    assembly.max_running = assembly.max_waiting = 1
    async with (
        serving(api_app(assembly.core, assembly.assistant, [GUILD_LINE])) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key=GUILD, max_retries=0) as client,
    ):
        asked = [asyncio.ensure_future(say(client, max_tokens=200)) for _ in range(6)]
        done = await asyncio.gather(*asked, return_exceptions=True)
    refused = [error for error in done if isinstance(error, openai.RateLimitError)]
    assert refused and refused[0].code == "rate_limit_exceeded"
    assert refused[0].response.headers["Retry-After"]
    assert any(isinstance(answer, str) for answer in done)


@pytest.mark.parametrize(
    "header",
    [None, "Bearer wrong", "Basic abc", f"Basic {BARE}", "Bearer"],
    ids=["no header", "a wrong key", "no key", "a key in the wrong scheme", "only the scheme"],
)
async def test_nobody_gets_in_without_a_key(url: str, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    async with httpx.AsyncClient(base_url=url, headers=headers) as anyone:
        for answer in (
            await anyone.get("/v1/models"),
            await anyone.post("/v1/chat/completions", json={"model": BASE, "messages": HI}),
        ):
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"\xff", 400),
        ("POST", "/v1/chat/completions", b"x" * (1 << 20) + b"x", 413),
        ("GET", "/v1/chat/completions", b"", 405),
        ("POST", "/v1/embeddings", b"{}", 404),
        ("GET", "/v1/models/no/such", b"", 404),
    ],
)
async def test_every_refusal_is_in_openais_form(
    url: str, method: str, path: str, content: bytes, status: int
) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {BARE}"}) as caller:
        answer = await caller.request(method, path, content=content)
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


def test_a_fault_nobody_expected_is_told_by_a_reference_only() -> None:
    told = api_error(RuntimeError("secret detail"))
    assert told.status == 500
    assert re.search(r"reference [0-9a-f]{8}", told.message)
    assert "secret detail" not in str(told.body)
