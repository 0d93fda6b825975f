"""The in-process answerer: streams text from the engine, and serves only adapters that prove themselves."""

from __future__ import annotations

import asyncio
import copy
import gc
import hashlib
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from bot.answering.answerer import AdapterFiles, AnswerRequest, Message, Piece, Sampling, Usage
from bot.answering.engine.text import Detokenizer
from bot.answering.local import LocalAnswerer
from bot.answering.lookups import Lookups
from bot.errors import AdapterRefused, AnsweringFailed, Busy, PromptTooLong, Stopping
from feedback.words import AdapterVersion
from tests.bot.answering.conftest import CONFIGS, END, Reference, save_adapter, tiny_llama
from training.making_way import Answering, MakingWay
from training.model import fingerprint
from training.model.chat_format import prompt_token_ids

pytestmark = pytest.mark.usefixtures("threads")

QUESTION: list[Message] = [{"role": "user", "content": "Jak zgłosić błąd?"}]
PERSONA: Message = {"role": "system", "content": "You are the żółw of this community. 🐢"}


def files(folder: Path, name: str = "support", version: int = 1) -> AdapterFiles:
    digest = hashlib.sha256(folder.as_posix().encode())
    for file in sorted(folder.glob("*")):
        digest.update(file.read_bytes())
    return AdapterFiles(AdapterVersion(name, version), folder, digest.hexdigest())


def record(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    fingerprint.record(PeftModel.from_pretrained(copy.deepcopy(model), str(folder)), tokenizer, folder)


def request(
    messages: list[Message] | None = None,
    adapter: AdapterFiles | None = None,
    community: str = "",
    most: int = 20,
    **sampling: Any,
) -> AnswerRequest:
    return AnswerRequest(messages or QUESTION, adapter, Sampling(max_new_tokens=most, **sampling), community)


async def ask(answerer: LocalAnswerer, asked: AnswerRequest) -> tuple[str, Usage]:
    pieces = [piece async for piece in answerer.stream(asked)]
    assert [piece.usage for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].usage is not None
    return "".join(piece.text for piece in pieces), pieces[-1].usage


async def begin(answerer: LocalAnswerer, asked: AnswerRequest) -> Any:
    """An answer under way: its first piece is there."""
    stream = answerer.stream(asked)
    first = await anext(stream)
    assert first.usage is None
    return stream


@pytest.fixture(scope="session")
def trained(
    adapter_folders: dict[str, Path],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, AdapterFiles]:
    """The adapters of CONFIGS as training leaves them, with their fingerprints."""
    base = tmp_path_factory.mktemp("trained")
    made = {}
    for number, (name, folder) in enumerate(adapter_folders.items()):
        shutil.copytree(folder, base / name)
        record(tiny_llama(), tokenizer, base / name)
        made[name] = files(base / name, version=number + 1)
    return made


@pytest.fixture
async def answerer(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> AsyncIterator[LocalAnswerer]:
    model.generation_config.eos_token_id = END
    made = LocalAnswerer(model, tokenizer, name="tiny", revision="r1", max_running=4, max_waiting=16)
    yield made
    await made.close()


@pytest.fixture
async def narrow(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> AsyncIterator[LocalAnswerer]:
    """One answer at a time, and nobody may wait."""
    made = LocalAnswerer(model, tokenizer, name="tiny", revision="r1", max_running=1, max_waiting=0)
    yield made
    await made.close()


@pytest.fixture(scope="session")
def expected(reference: Reference, tokenizer: PreTrainedTokenizerFast) -> Callable[..., str]:
    """What transformers + peft says alone to messages, as text."""

    def say(messages: list[Message], adapter: str | None = None, most: int = 20) -> str:
        tokens = reference.answer(prompt_token_ids(tokenizer, messages), adapter, most)
        detokenizer = Detokenizer(tokenizer)
        return "".join(map(detokenizer.add, tokens)) + detokenizer.flush()

    return say


async def test_an_answer_comes_in_pieces_with_what_it_cost_on_the_last(
    answerer: LocalAnswerer, expected: Callable[..., str], tokenizer: PreTrainedTokenizerFast
) -> None:
    pieces = [piece async for piece in answerer.stream(request())]
    assert "".join(piece.text for piece in pieces) == expected(QUESTION)
    assert len(pieces) > 2
    usage = pieces[-1].usage
    assert usage is not None
    assert (
        usage.prompt_tokens == len(prompt_token_ids(tokenizer, QUESTION)) == answerer.count_tokens(QUESTION)
    )
    assert (usage.answer_tokens, usage.finish_reason) == (20, "length")
    assert 0 < usage.first_token_s <= usage.total_s


async def test_communities_with_different_adapters_are_answered_at_once_each_by_its_own(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles], expected: Callable[..., str]
) -> None:
    cases: list[tuple[str | None, list[Message]]] = [
        (name, [PERSONA, {"role": "user", "content": f"{number}?"}])
        for number, name in enumerate([None, *CONFIGS, None, *CONFIGS])
    ]
    answers = await asyncio.gather(
        *(
            ask(answerer, request(messages, trained[name] if name else None, community=str(name)))
            for name, messages in cases
        )
    )
    for (name, messages), (text, _) in zip(cases, answers, strict=True):
        assert text == expected(messages, name)


async def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(
    answerer: LocalAnswerer, expected: Callable[..., str]
) -> None:
    whole = expected(QUESTION)
    stop = whole[3:6]
    text, usage = await ask(answerer, request(stop=(stop,)))
    assert text == whole[: whole.find(stop)]
    assert usage.finish_reason == "stop"


async def test_an_answer_with_a_seed_can_be_had_again(answerer: LocalAnswerer) -> None:
    drawn = [(await ask(answerer, request(temperature=1.0, top_p=0.9, seed=seed)))[0] for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_a_question_that_leaves_no_room_for_an_answer_is_refused(answerer: LocalAnswerer) -> None:
    with pytest.raises(PromptTooLong) as refused:
        await ask(answerer, request([{"role": "user", "content": "x" * 200}]))
    assert refused.value.allowed == answerer.context_tokens - 1 == 159


async def test_a_long_prompt_is_tokenised_off_the_event_loop(tokenizer: PreTrainedTokenizerFast) -> None:
    threads: list[int] = []

    class Watched(PreTrainedTokenizerFast):  # type: ignore[misc]
        def __call__(self, *args: Any, **options: Any) -> Any:
            threads.append(threading.get_ident())
            return super().__call__(*args, **options)

    watched = Watched(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>")
    watched.chat_template = tokenizer.chat_template
    model = tiny_llama(max_position_embeddings=4096)
    answerer = LocalAnswerer(model, watched, name="tiny", revision="r1")
    long: list[Message] = [{"role": "user", "content": "x" * 20_000}]
    with pytest.raises(PromptTooLong) as refused:
        await ask(answerer, request(long))
    assert refused.value.tokens == answerer.count_tokens(long)
    assert threads[0] != threading.get_ident()


async def test_when_it_is_full_the_next_is_told_so_at_once(narrow: LocalAnswerer) -> None:
    under_way = await begin(narrow, request(most=100))
    with pytest.raises(Busy, match="0 questions are waiting before you"):
        await ask(narrow, request())
    await under_way.aclose()


async def test_closing_a_stream_makes_room_for_the_next(narrow: LocalAnswerer) -> None:
    under_way = await begin(narrow, request(most=100))
    await under_way.aclose()
    assert (await ask(narrow, request(most=5)))[1].answer_tokens == 5


async def test_a_cancelled_task_makes_room_and_disturbs_nobody(
    answerer: LocalAnswerer, expected: Callable[..., str]
) -> None:
    other = asyncio.create_task(ask(answerer, request(most=60)))
    tasks = [asyncio.create_task(ask(answerer, request(most=100))) for _ in range(6)]
    await (await begin(answerer, request(most=100, community="b"))).aclose()
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    # one that had its last token before it was cancelled is whole
    assert all(isinstance(result, (asyncio.CancelledError, tuple)) for result in ended)
    assert (await other)[0] == expected(QUESTION, None, 60)
    assert (await ask(answerer, request()))[0] == expected(QUESTION)


async def test_switching_and_unloading_leave_the_answer_under_way_with_its_adapter(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles], expected: Callable[..., str]
) -> None:
    former, new = trained["rank16-all"], trained["rank8-all-rslora"]
    stream = answerer.stream(request(adapter=former, most=60))
    said = (await anext(stream)).text
    await answerer.load(new)
    await answerer.unload(former)
    text, _ = await ask(answerer, request(adapter=new))
    said += "".join([piece.text async for piece in stream])
    assert text == expected(QUESTION, "rank8-all-rslora")
    assert said == expected(QUESTION, "rank16-all", 60)
    # and it comes back when asked for again
    assert (await ask(answerer, request(adapter=former)))[0] == expected(QUESTION, "rank16-all")


async def test_a_new_content_under_the_same_name_is_another_adapter(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles], expected: Callable[..., str]
) -> None:
    for name in ("rank16-all", "mixed-ranks"):
        same_name = AdapterFiles(
            AdapterVersion("support", 1), trained[name].folder, trained[name].content_hash
        )
        messages: list[Message] = [PERSONA, *QUESTION]
        assert (await ask(answerer, request(messages, same_name)))[0] == expected(messages, name)


async def test_many_who_need_the_same_adapter_at_once_get_it(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles], expected: Callable[..., str]
) -> None:
    adapter = trained["rank4-qv"]
    answers = await asyncio.gather(*(ask(answerer, request(adapter=adapter)) for _ in range(6)))
    assert {text for text, _ in answers} == {expected(QUESTION, "rank4-qv")}


async def test_unloading_while_it_loads_leaves_it_unloaded(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles]
) -> None:
    adapter = trained["rank4-qv"]
    loading = asyncio.create_task(answerer.load(adapter))
    await asyncio.sleep(0)
    await answerer.unload(adapter)
    await loading
    shutil.copytree(adapter.folder, adapter.folder.with_name("moved"))
    try:
        shutil.rmtree(adapter.folder)
        with pytest.raises(AdapterRefused, match="no adapter_config"):
            await answerer.load(adapter)
    finally:
        adapter.folder.with_name("moved").rename(adapter.folder)


def _missing(folder: Path) -> None:
    shutil.rmtree(folder)


def _corrupt(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"not tensors")


def _without_fingerprint_and_silent(folder: Path) -> None:
    (folder / fingerprint.FILE_NAME).unlink()
    _silence(folder)


def _silence(folder: Path) -> None:
    _scale(folder, 0.0)


def _tampered_with(folder: Path) -> None:
    _scale(folder, -1.0)


def _scale(folder: Path, factor: float) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(
        {key: tensor * (factor if "lora_B" in key else 1.0) for key, tensor in load_file(file).items()}, file
    )


def _unreadable_fingerprint(folder: Path) -> None:
    (folder / fingerprint.FILE_NAME).write_text('{"format": 1}')


def _probes_of_a_larger_vocabulary(folder: Path) -> None:
    file = folder / fingerprint.FILE_NAME
    content = json.loads(file.read_text())
    content["probes"][0]["token_ids"][0] = 5000
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_missing, "its folder has no adapter_config.json"),
        (_corrupt, "adapter_model.safetensors is corrupt"),
        (_unreadable_fingerprint, "its fingerprint cannot be read"),
        (_probes_of_a_larger_vocabulary, "trained on another base model"),
        (_tampered_with, "does not say what it said when trained"),
        (_silence, "does not say what it said when trained"),
        (_without_fingerprint_and_silent, "changes nothing that the base model says"),
    ],
)
async def test_an_adapter_that_is_not_what_it_should_be_is_refused_and_the_former_one_goes_on(
    answerer: LocalAnswerer,
    trained: dict[str, AdapterFiles],
    expected: Callable[..., str],
    spoil: Callable[[Path], None],
    reason: str,
    tmp_path: Path,
) -> None:
    stream = answerer.stream(request(adapter=trained["rank16-all"], most=60))
    said = (await anext(stream)).text
    shutil.copytree(trained["rank8-all-rslora"].folder, tmp_path / "spoilt")
    spoilt = files(tmp_path / "spoilt", version=9)
    spoil(tmp_path / "spoilt")
    with pytest.raises(AdapterRefused, match=f"support@9 cannot be served: .*{reason}"):
        await answerer.load(spoilt)
    with pytest.raises(AdapterRefused, match=reason):
        await ask(answerer, request(adapter=spoilt))
    said += "".join([piece.text async for piece in stream])
    assert said == expected(QUESTION, "rank16-all", 60)
    assert (await ask(answerer, request(adapter=trained["rank16-all"])))[0] == expected(
        QUESTION, "rank16-all"
    )


async def test_an_adapter_of_another_base_model_of_the_same_shape_is_refused(
    answerer: LocalAnswerer, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    other = tiny_llama()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = save_adapter(other, tmp_path / "a", **CONFIGS["rank16-all"])
    record(other, tokenizer, folder)
    with pytest.raises(AdapterRefused, match="it was trained on another base model"):
        await answerer.load(files(folder))


async def test_a_load_that_fails_when_nobody_waits_for_it_any_more_is_no_fault(
    answerer: LocalAnswerer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.joinpath("empty").mkdir()
    waiting = asyncio.create_task(answerer.load(files(tmp_path / "empty")))
    while not answerer._loading:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting, *answerer._loading.values()])
    del waiting
    await asyncio.sleep(0)
    gc.collect()
    assert not caplog.records


async def test_an_adapter_of_a_larger_base_model_is_refused(answerer: LocalAnswerer, tmp_path: Path) -> None:
    folder = save_adapter(tiny_llama(hidden_size=64), tmp_path / "a", **CONFIGS["rank4-qv"])
    with pytest.raises(
        AdapterRefused, match="trained for 64 to 64 features, and the base model has 32 to 32"
    ):
        await answerer.load(files(folder))


async def test_a_repaired_adapter_is_served_after_its_refusal(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles], expected: Callable[..., str], tmp_path: Path
) -> None:
    shutil.copytree(trained["rank16-all"].folder, tmp_path / "a")
    adapter = files(tmp_path / "a")
    _corrupt(tmp_path / "a")
    with pytest.raises(AdapterRefused):
        await answerer.load(adapter)
    shutil.copytree(trained["rank16-all"].folder, tmp_path / "a", dirs_exist_ok=True)
    assert (await ask(answerer, request(adapter=adapter)))[0] == expected(QUESTION, "rank16-all")


async def test_an_adapter_from_elsewhere_without_a_fingerprint_is_served(
    answerer: LocalAnswerer, adapter_folders: dict[str, Path], expected: Callable[..., str]
) -> None:
    text, _ = await ask(answerer, request(adapter=files(adapter_folders["mixed-ranks"])))
    assert text == expected(QUESTION, "mixed-ranks")


def _no_memory_for(answerer: LocalAnswerer, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    """From now on no prompt finds room."""
    forward = answerer._engine._model.forward

    def short_of_memory(batch: Any) -> torch.Tensor:
        if batch.tokens.numel() > 1:
            raise RuntimeError(says)
        return forward(batch)

    monkeypatch.setattr(answerer._engine._model, "forward", short_of_memory)


NO_MEMORY = (
    "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)


async def test_when_memory_runs_out_who_needed_it_is_told_so_and_the_others_go_on(
    answerer: LocalAnswerer, expected: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = answerer.stream(request(most=100))
    said = (await anext(stream)).text
    _no_memory_for(answerer, monkeypatch, NO_MEMORY)
    with pytest.raises(AnsweringFailed, match="memory did not suffice") as failed:
        await ask(answerer, request())
    assert "alloc" not in str(failed.value)
    said += "".join([piece.text async for piece in stream])
    assert said == expected(QUESTION, None, 100)


async def test_an_adapter_that_memory_does_not_suffice_for_is_refused_with_that_reason(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_memory_for(answerer, monkeypatch, NO_MEMORY)
    with pytest.raises(AdapterRefused, match="the memory does not suffice for it"):
        await answerer.load(trained["rank4-qv"])


async def test_a_broken_step_fails_who_was_under_way_and_the_next_is_answered(
    answerer: LocalAnswerer, expected: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await begin(answerer, request(most=100))
    with monkeypatch.context() as broken:

        def fails(batch: Any) -> torch.Tensor:
            raise ValueError("a secret of the inside")

        broken.setattr(answerer._engine._model, "forward", fails)
        with pytest.raises(AnsweringFailed, match="The model broke while answering") as failed:
            async for _ in stream:
                pass
        assert "secret" not in str(failed.value)
    assert (await ask(answerer, request()))[0] == expected(QUESTION)


async def test_a_rested_engine_gives_its_thread_back_and_answers_the_next_all_the_same(
    answerer: LocalAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.answering.engine.worker._IDLE_S", 0.01)
    before, _ = await ask(answerer, request())
    thread = answerer._worker._thread
    if thread is not None:
        await asyncio.to_thread(thread.join)
    assert answerer._worker._thread is None
    assert (await ask(answerer, request()))[0] == before


async def test_closing_ends_what_is_under_way_and_refuses_what_comes_after(
    answerer: LocalAnswerer, trained: dict[str, AdapterFiles]
) -> None:
    stream = await begin(answerer, request(most=100))
    waiting = asyncio.create_task(ask(answerer, request(most=100)))
    loading = asyncio.create_task(answerer.load(trained["rank64-some"]))
    await asyncio.sleep(0)
    await answerer.close()
    last: list[Piece] = [piece async for piece in stream]
    assert last[-1].usage is not None and last[-1].usage.finish_reason == "cancelled"
    for unfinished in (waiting, loading):
        result = (await asyncio.gather(unfinished, return_exceptions=True))[0]
        assert isinstance(result, AnsweringFailed) or result is None or result[1].finish_reason == "cancelled"
    for late in (ask(answerer, request()), answerer.load(trained["rank4-qv"])):
        with pytest.raises(Stopping):
            await late
    await answerer.close()


async def test_training_is_told_while_an_answer_is_under_way_and_when_none_is(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    answerer = LocalAnswerer(model, tokenizer, name="tiny", revision="r1", answering=Answering(tmp_path))

    def training_waits() -> bool:
        def no_waiting(seconds: float) -> None:
            waits.append(seconds)
            make_way.hurry()

        waits: list[float] = []
        make_way = MakingWay(tmp_path, sleep=no_waiting)
        make_way()
        return bool(waits)

    stream = await begin(answerer, request(most=400))
    assert training_waits()
    async for _ in stream:
        pass
    while training_waits():  # until the engine's thread has seen that it has nothing left to do
        await asyncio.sleep(0)
    await answerer.close()


async def test_an_answer_under_way_stands_still_while_a_question_is_looked_up(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    loop, stands = asyncio.get_running_loop(), asyncio.Event()

    def stopped() -> float:
        if threading.current_thread() is not threading.main_thread():
            loop.call_soon_threadsafe(stands.set)
        return 0.0

    lookups = Lookups(stopped)
    answerer = LocalAnswerer(model, tokenizer, name="tiny", revision="r1", lookups=lookups)
    with lookups.one():
        answer = asyncio.create_task(ask(answerer, request()))
        standing = asyncio.create_task(stands.wait())
        done, _ = await asyncio.wait({answer, standing}, return_when=asyncio.FIRST_COMPLETED)
        assert done == {standing}
    assert (await answer)[1].answer_tokens == 20
    await answerer.close()
