"""The remote answerer against a server that fails in every way a server can."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from bot.answering.answerer import AdapterFiles, AnswerRequest, Message, Piece, Sampling
from bot.answering.remote import RemoteAnswerer, open_remote
from bot.errors import AdapterRefused, AnsweringFailed, Busy, PromptTooLong, Stopping
from bot.settings import RemoteSettings, Settings
from feedback.errors import SettingsError
from feedback.words import AdapterVersion
from tests.doubles.openai_server import BASE, CONTEXT, OpenAIServer, Reply
from tests.doubles.tiny_model import write_tiny_model
from tests.loopback import serving
from training.adapters.registry import served_name
from training.errors import ConversationRefused

ADAPTER = AdapterFiles(AdapterVersion("support", 3), Path("/data/adapters/support/3"), "ab" * 32)
NAME = "support@3-abababababab"


class Clock:
    """Time that passes when somebody sleeps, and at no other moment."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> OpenAIServer:
    return OpenAIServer()


Opener = Callable[..., contextlib.AbstractAsyncContextManager[RemoteAnswerer]]


@pytest.fixture
def remote(clock: Clock, server: OpenAIServer) -> Opener:
    """Opens an answerer that has met the double; keywords are RemoteSettings."""

    @asynccontextmanager
    async def opened(
        *, tokenizer: PreTrainedTokenizerFast | None = None, other: OpenAIServer | None = None, **told: Any
    ) -> AsyncIterator[RemoteAnswerer]:
        async with serving((other or server).app) as url:
            answerer = RemoteAnswerer(
                RemoteSettings(url=f"{url}/v1", **told),
                name="tiny",
                tokenizer=tokenizer,
                sleep=clock.sleep,
                clock=clock,
            )
            try:
                await answerer.connect()
                yield answerer
            finally:
                await answerer.close()

    return opened


def question(adapter: AdapterFiles | None = None, **sampling: Any) -> AnswerRequest:
    return AnswerRequest([{"role": "user", "content": "Hi?"}], adapter, Sampling(**sampling))


async def answer(answerer: RemoteAnswerer, request: AnswerRequest | None = None) -> tuple[str, Piece]:
    pieces = [piece async for piece in answerer.stream(request or question())]
    assert all(piece.usage is None for piece in pieces[:-1])
    return "".join(piece.text for piece in pieces), pieces[-1]


async def test_an_answer_streams_with_the_servers_own_usage(remote: Opener) -> None:
    async with remote() as answerer:
        said, last = await answer(answerer)
    assert said == "Hello there"
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.answer_tokens, last.usage.finish_reason) == (11, 22, "stop")


async def test_line_separators_and_emoji_inside_an_answer_arrive_whole(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        server.script = [Reply(words=("Zażółć\u2028gęślą", "\x85 🦜", "\u2029."))]
        said, _ = await answer(answerer)
    assert said == "Zażółć\u2028gęślą\x85 🦜\u2029."


async def test_a_server_that_counts_nothing_is_counted_for(
    remote: Opener, server: OpenAIServer, tokenizer: PreTrainedTokenizerFast
) -> None:
    server.script = [Reply(usage=False, finish="length")] * 2
    async with remote(tokenizer=tokenizer) as answerer:
        _, last = await answer(answerer)
    assert last.usage is not None
    # the test's tokenizer takes one token a byte
    assert (last.usage.answer_tokens, last.usage.finish_reason) == (len("Hello there"), "length")
    async with remote() as answerer:
        _, last = await answer(answerer)
    assert last.usage is not None and last.usage.answer_tokens == 2


async def test_sampling_travels_as_the_protocol_names_it(remote: Opener, server: OpenAIServer) -> None:
    async with remote(api_key="secret") as answerer:
        await answer(
            answerer,
            question(
                temperature=0.5, top_p=0.9, repetition_penalty=1.1, seed=7, max_new_tokens=5, stop=("END",)
            ),
        )
        await answer(answerer, question())
    full, plain = server.asked
    wanted = {
        "model": BASE,
        "temperature": 0.5,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "seed": 7,
        "max_tokens": 5,
        "stop": ["END"],
        "stream": True,
    }
    assert full.items() >= wanted.items()
    assert not {"seed", "stop", "repetition_penalty"} & plain.keys()
    assert server.authorization == ["Bearer secret"]


async def test_a_message_cannot_speak_for_the_chat_template(
    remote: Opener, server: OpenAIServer, tokenizer: PreTrainedTokenizerFast
) -> None:
    async with remote(tokenizer=tokenizer) as answerer:
        await answer(answerer, AnswerRequest([{"role": "user", "content": "a</s>b"}]))
    assert "</s>" not in server.asked[0]["messages"][0]["content"]


async def test_a_server_of_vllms_is_told_every_sampling_value_or_it_would_take_its_own(
    remote: Opener,
) -> None:
    vllm = OpenAIServer(owned_by="vllm")
    async with remote(other=vllm) as answerer:
        await answer(answerer)
    wanted = {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    assert vllm.asked[0].items() >= wanted.items()


async def test_stop_strings_beyond_those_that_a_server_takes_end_the_answer_all_the_same(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        server.script = [Reply(words=("One, t", "wo, thr", "ee, four"), then="hang", after=3)]
        said, last = await answer(answerer, question(stop=("A", "B", "C", "D", "E", "two, three")))
        await server.hung_up.wait()
    assert said == "One, "
    assert server.asked[0]["stop"] == ["A", "B", "C", "D"]
    assert last.usage is not None and last.usage.finish_reason == "stop"


async def test_what_looked_like_a_stop_string_and_was_none_is_said(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        server.script = [Reply(words=("One, t", "w"))]
        said, _ = await answer(answerer, question(stop=("A", "B", "C", "D", "two")))
    assert said == "One, tw"


@pytest.mark.parametrize(
    ("owner", "stop_reason", "finish", "tokens"),
    [
        ("vllm", None, "stop", 21),
        ("vllm", "END", "stop", 22),
        ("vllm", None, "length", 22),
        ("x", None, "stop", 22),
    ],
    ids=["the end token", "a stop string", "no more room", "another server"],
)
async def test_the_end_token_that_vllm_counts_is_no_token_of_the_answer(
    remote: Opener, owner: str, stop_reason: str | None, finish: str, tokens: int
) -> None:
    counting = OpenAIServer(owned_by=owner)
    counting.script = [Reply(finish=finish, stop_reason=stop_reason)]
    async with remote(other=counting) as answerer:
        _, last = await answer(answerer)
    assert last.usage is not None and last.usage.answer_tokens == tokens


async def test_a_server_whose_template_is_strict_gets_neighbours_merged(remote: Opener) -> None:
    strict = OpenAIServer(strict_template=True)
    async with remote(other=strict) as answerer:
        said, _ = await answer(
            answerer,
            AnswerRequest(
                [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "Hello."},
                    {"role": "user", "content": "What is LoRA?"},
                ]
            ),
        )
    assert said == "Hello there"
    assert strict.asked[-1]["messages"] == [
        {"role": "user", "content": "Be kind.\n\nHello.\n\nWhat is LoRA?"}
    ]


async def test_what_a_servers_template_takes_in_no_way_is_refused_with_its_reason(remote: Opener) -> None:
    strict = OpenAIServer(strict_template=True)
    messages: list[Message] = [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Hi."}]
    async with remote(other=strict) as answerer:
        with pytest.raises(ConversationRefused, match="roles must alternate"):
            await answer(answerer, AnswerRequest(messages))
    assert len(strict.asked) == 1, "there is no other arrangement to try"


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_question_is_put_again_before_its_first_token(
    remote: Opener, server: OpenAIServer, clock: Clock, status: int
) -> None:
    async with remote(backoff_s=1.0) as answerer:
        server.script = [Reply(status=status), Reply(status=status), Reply()]
        said, _ = await answer(answerer)
    assert said == "Hello there"
    first, second = clock.slept
    assert 0.5 <= first <= 1.5
    assert 1.0 <= second <= 3.0


async def test_a_connection_that_breaks_before_the_first_token_is_tried_again(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        server.script = [Reply(then="cut", after=0), Reply()]
        said, _ = await answer(answerer)
    assert said == "Hello there"


async def test_retry_after_is_honoured_in_seconds_and_as_a_date(
    remote: Opener, server: OpenAIServer, clock: Clock
) -> None:
    date = (datetime.now(UTC) + timedelta(seconds=40)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    async with remote(backoff_s=0.0) as answerer:
        server.script = [
            Reply(status=429, headers={"Retry-After": "7"}),
            Reply(status=503, headers={"Retry-After": date}),
            Reply(),
        ]
        await answer(answerer)
    assert clock.slept[0] == 7
    assert 30 < clock.slept[1] <= 40


async def test_nobody_waits_for_a_server_that_asks_for_an_hour(
    remote: Opener, server: OpenAIServer, clock: Clock
) -> None:
    async with remote() as answerer:
        server.script = [Reply(status=429, headers={"Retry-After": "3600"})]
        with pytest.raises(Busy):
            await answer(answerer)
    assert clock.slept == []


async def test_a_server_that_stays_busy_makes_us_busy(remote: Opener, server: OpenAIServer) -> None:
    async with remote(retries=2) as answerer:
        server.script = [Reply(status=429)] * 3
        with pytest.raises(Busy):
            await answer(answerer)
    assert len(server.asked) == 3


@pytest.mark.parametrize("then", ["cut", "error", "stop"])
async def test_an_answer_that_breaks_off_is_never_started_again(
    remote: Opener, server: OpenAIServer, then: str
) -> None:
    async with remote() as answerer:
        server.script = [Reply(then=then, after=1)]
        said = []
        with pytest.raises(AnsweringFailed, match="broke the answer off"):
            async for piece in answerer.stream(question()):
                said.append(piece.text)
    assert said == ["Hello"]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("after", "told", "sentence"),
    [
        (0, {"first_token_s": 0.05}, "did not begin to answer within 0.05 seconds"),
        (1, {"between_tokens_s": 0.05}, "broke the answer off"),
    ],
)
async def test_a_silent_server_is_given_up_and_its_stream_closed(
    remote: Opener, server: OpenAIServer, after: int, told: dict[str, float], sentence: str
) -> None:
    async with remote(**told) as answerer:
        server.script = [Reply(then="hang", after=after)]
        with pytest.raises(AnsweringFailed, match=sentence):
            await answer(answerer)
        await server.hung_up.wait()


async def test_closing_the_iterator_closes_the_stream(remote: Opener, server: OpenAIServer) -> None:
    async with remote() as answerer:
        server.script = [Reply(then="hang", after=1)]
        stream = answerer.stream(question())
        assert (await anext(stream)).text == "Hello"
        await stream.aclose()
        await server.hung_up.wait()


async def test_closing_the_answerer_ends_what_is_under_way(remote: Opener, server: OpenAIServer) -> None:
    async with remote() as answerer:
        server.script = [Reply(then="hang", after=1)]
        stream = answerer.stream(question())
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)  # so that it waits for the next token
        await answerer.close()
        last = await waiting
        assert last.usage is not None and last.usage.finish_reason == "cancelled"
        with pytest.raises(Stopping):
            await answer(answerer)


async def test_a_server_that_fails_again_and_again_is_left_alone_and_then_tried_by_one(
    remote: Opener, server: OpenAIServer, clock: Clock
) -> None:
    async with remote(retries=0, failures=3, pause_s=60.0) as answerer:
        server.script = [Reply(status=500)] * 3
        for _ in range(3):
            with pytest.raises(AnsweringFailed, match="failed"):
                await answer(answerer)
        with pytest.raises(AnsweringFailed, match=r"tried again from \d\d:\d\d:\d\d UTC"):
            await answer(answerer)
        assert len(server.asked) == 3, "the server is left alone"

        clock.now += 60
        server.script = [Reply(then="hang", after=0)]
        probe = asyncio.ensure_future(answer(answerer))
        while len(server.asked) < 4:
            await asyncio.sleep(0)
        with pytest.raises(AnsweringFailed, match="UTC"):  # one tries, the others wait for how it goes
            await answer(answerer)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)

        assert (await answer(answerer))[0] == "Hello there"
        assert (await answer(answerer))[0] == "Hello there"


async def test_a_server_that_cannot_be_reached_is_told_apart(clock: Clock) -> None:
    answerer = RemoteAnswerer(
        RemoteSettings(url="http://127.0.0.1:9/v1", retries=1), name="tiny", sleep=clock.sleep
    )
    with pytest.raises(AnsweringFailed, match="cannot be reached"):
        await answerer.connect()
    assert len(clock.slept) == 1
    await answerer.close()


async def test_a_prompt_that_is_too_long_for_the_server_is_told_with_its_numbers(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        server.script = [
            Reply(
                status=400,
                message="This model's maximum context length is 128 tokens. However, you requested 20 "
                "output tokens and your prompt contains at least 131 input tokens, for a total of at least "
                "151 tokens.",
            )
        ]
        with pytest.raises(PromptTooLong) as told:
            await answer(answerer)
    assert (told.value.tokens, told.value.allowed) == (131, CONTEXT - 1)


async def test_a_prompt_that_our_tokenizer_finds_too_long_is_not_sent(
    remote: Opener, server: OpenAIServer, tokenizer: PreTrainedTokenizerFast
) -> None:
    async with remote(tokenizer=tokenizer) as answerer:
        with pytest.raises(PromptTooLong):
            await answer(answerer, AnswerRequest([{"role": "user", "content": "x" * CONTEXT}]))
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "THUMBLOOP_REMOTE__API_KEY"), (400, r"refused what it was asked \(400\)")]
)
async def test_a_refusal_is_told_without_the_servers_words(
    remote: Opener, server: OpenAIServer, status: int, sentence: str
) -> None:
    async with remote() as answerer:
        server.script = [Reply(status=status, message="internal detail")]
        with pytest.raises(AnsweringFailed, match=sentence) as told:
            await answer(answerer)
    assert "internal detail" not in str(told.value)
    assert len(server.asked) == 1


async def test_an_adapter_is_loaded_once_under_a_name_that_holds_its_content(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        await asyncio.gather(*(answer(answerer, question(ADAPTER)) for _ in range(3)))
    assert served_name(ADAPTER.version, ADAPTER.content_hash) == NAME
    assert server.calls == [f"load {NAME} /data/adapters/support/3"]
    assert {asked["model"] for asked in server.asked} == {NAME}


async def test_the_same_label_with_other_content_is_another_adapter_there(
    remote: Opener, server: OpenAIServer
) -> None:
    again = AdapterFiles(ADAPTER.version, ADAPTER.folder, "cd" * 32)
    async with remote() as answerer:
        await answer(answerer, question(ADAPTER))
        await answer(answerer, question(again))
    assert len({asked["model"] for asked in server.asked}) == 2


async def test_the_server_is_told_its_own_path_of_the_adapters(remote: Opener, server: OpenAIServer) -> None:
    async with remote(adapters_folder="/mnt/adapters/") as answerer:
        await answerer.load(ADAPTER)
    assert server.calls == [f"load {NAME} /mnt/adapters/support/3"]


async def test_a_restarted_server_gets_its_adapters_again(remote: Opener, server: OpenAIServer) -> None:
    async with remote() as answerer:
        await answer(answerer, question(ADAPTER))
        server.adapters.clear()
        said, _ = await answer(answerer, question(ADAPTER))
    assert said == "Hello there"
    assert len(server.calls) == 2


async def test_a_restarted_server_has_its_adapters_back_after_the_next_check(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        await answerer.load(ADAPTER)
        server.adapters.clear()
        await answerer.check()
    assert NAME in server.adapters


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            "LoRA rank 32 is greater than max_lora_rank 16.",
            r"its rank 32 is above the 16 that .*--max-lora-rank 32",
        ),
        (
            "vLLM does not support init_lora_weights='pissa'. Inits such as PiSSA modify the base model.",
            "the model server does not take it; it says: vLLM does not support init_lora_weights='pissa'",
        ),
    ],
    ids=["the rank", "another reason"],
)
async def test_adapters_that_do_not_suit_vllm_are_refused_with_the_reason_and_harm_nobody_else(
    remote: Opener, server: OpenAIServer, fault: str, reason: str
) -> None:
    other = AdapterFiles(AdapterVersion("support", 4), Path("/data/adapters/support/4"), "cd" * 32)
    told = f"Call to add_lora method failed: Worker failed with error '{fault}', please check the stack trace"
    server.broken_adapters = {NAME: told, "support@4-cdcdcdcdcdcd": told}
    async with remote(failures=2) as answerer:
        for adapter in (ADAPTER, other):
            with pytest.raises(AdapterRefused, match=reason):
                await answer(answerer, question(adapter))
        assert len(server.calls) == 2, "asked once each: the server would say the same again"
        assert (await answer(answerer))[0] == "Hello there"


async def test_a_server_that_breaks_while_it_loads_an_adapter_is_a_server_that_fails(
    remote: Opener, server: OpenAIServer
) -> None:
    server.broken_adapters = {NAME: "EngineCore encountered an issue. See stack trace (above)."}
    async with remote(retries=1) as answerer:
        with pytest.raises(AnsweringFailed, match="failed"):
            await answerer.load(ADAPTER)
    assert len(server.calls) == 2


async def test_an_adapter_that_the_server_cannot_load_is_refused(
    remote: Opener, server: OpenAIServer
) -> None:
    server.unloadable.add(NAME)
    async with remote() as answerer:
        with pytest.raises(AdapterRefused, match="cannot load it; it looked in /data/adapters/support/3"):
            await answer(answerer, question(ADAPTER))
        said, _ = await answer(answerer)
    assert said == "Hello there"


async def test_a_server_without_run_time_loading_says_how_to_get_it(remote: Opener) -> None:
    fixed = OpenAIServer(loads_at_run_time=False)
    async with remote(other=fixed) as answerer:
        with pytest.raises(AdapterRefused, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            await answerer.load(ADAPTER)


async def test_adapters_given_at_the_servers_start_serve_and_others_are_refused(
    remote: Opener, server: OpenAIServer
) -> None:
    other = AdapterFiles(AdapterVersion("support", 4), Path("/data/adapters/support/4"), "cd" * 32)
    server.adapters[NAME] = "/data/adapters/support/3"
    async with remote(adapters="at-start") as answerer:
        await answer(answerer, question(ADAPTER))
        with pytest.raises(
            AdapterRefused, match="--lora-modules support@4-cdcdcdcdcdcd=/data/adapters/support/4"
        ):
            await answer(answerer, question(other))
        await answerer.unload(ADAPTER)
    assert server.calls == []


async def test_an_adapter_is_unloaded_when_the_last_answer_with_it_is_finished(
    remote: Opener, server: OpenAIServer
) -> None:
    async with remote() as answerer:
        stream = answerer.stream(question(ADAPTER))
        await anext(stream)
        unloading = asyncio.ensure_future(answerer.unload(ADAPTER))
        said = [piece.text async for piece in stream]
        assert said == [" there", ""]
        assert NAME in server.adapters, "the answer under way had it to its end"
        await unloading
        assert server.adapters == {}
        await answer(answerer, question(ADAPTER))
        assert NAME in server.adapters


async def test_the_base_model_is_found_in_the_servers_list_or_named_by_the_settings(
    remote: Opener, server: OpenAIServer
) -> None:
    server.model_list = {"data": [{"id": "tiny", "max_model_len": 64}, {"id": "large", "max_model_len": 256}]}
    async with remote() as answerer:
        assert (answerer.base_model, answerer.context_tokens) == ("tiny", 64)
    async with remote(model="large") as answerer:
        assert (answerer.base_model, answerer.context_tokens) == ("tiny", 256)
    with pytest.raises(SettingsError, match=r"tiny, large, and not small\..*THUMBLOOP_REMOTE__MODEL"):
        async with remote(model="small"):
            pass


async def test_a_server_that_tells_no_context_length_needs_the_setting(remote: Opener) -> None:
    silent = OpenAIServer(max_model_len=None)
    with pytest.raises(SettingsError, match="THUMBLOOP_REMOTE__CONTEXT_TOKENS"):
        async with remote(other=silent):
            pass
    async with remote(other=silent, context_tokens=77) as answerer:
        assert answerer.context_tokens == 77


@pytest.mark.parametrize("listed", [[], {"data": [1]}, {"data": None}])
async def test_a_url_of_something_else_is_said_to_be_one(
    remote: Opener, server: OpenAIServer, listed: Any
) -> None:
    server.model_list = listed
    with pytest.raises(AnsweringFailed, match="THUMBLOOP_REMOTE__URL"):
        async with remote():
            pass


async def test_a_prompt_counts_rather_too_many_tokens_than_too_few_without_a_tokenizer(
    remote: Opener, tokenizer: PreTrainedTokenizerFast
) -> None:
    messages = question().messages
    async with remote() as estimating, remote(tokenizer=tokenizer) as counting:
        assert counting.count_tokens(messages) == len("u:Hi?") + 1 + len("a:")
        assert estimating.count_tokens(messages) > counting.count_tokens(messages)


async def test_a_service_opens_the_server_of_its_settings_with_the_tokenizer_at_hand(
    server: OpenAIServer, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    messages = question().messages
    async with serving(server.app) as url:
        remote = RemoteSettings(url=f"{url}/v1")
        counting = await open_remote(Settings(data=tmp_path, model=str(folder), remote=remote))
        estimating = await open_remote(Settings(data=tmp_path, model="hub/elsewhere", remote=remote))
        # turns and adapters know a folder's model by the folder's own name
        assert (counting.base_model, estimating.base_model) == ("tiny", "hub/elsewhere")
        assert counting.count_tokens(messages) < estimating.count_tokens(messages)
        assert (await answer(counting))[0] == "Hello there"
        await counting.close()
        await estimating.close()
