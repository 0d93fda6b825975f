"""The compiled step answers, token for token, as transformers + peft do over the dequantised weights."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from bot.answering.answerer import AdapterFiles, Sampling
from bot.answering.engine import native, quantised
from bot.answering.engine.batch import PrefillChunk, build_batch
from bot.answering.engine.cache import Cache
from bot.answering.engine.engine import Engine, Limits, Request
from bot.answering.engine.lora import CannotServe
from bot.answering.engine.native_decoder import NativeDecoder
from bot.answering.local import LocalAnswerer
from bot.errors import AdapterRefused
from feedback.words import AdapterVersion
from tests.bot.answering.conftest import ALL_LINEAR, CONFIGS, END, Reference, save_adapter, tiny_llama
from tests.doubles.tiny_model import write_tiny_model
from training.files import MANIFEST
from training.model import fingerprint, locating
from training.model.base_model import ModelChoice
from training.model.chat_format import prompt_token_ids

pytestmark = [
    pytest.mark.usefixtures("threads"),
    pytest.mark.skipif(
        native.library() is None, reason="the compiled step is not built, or this CPU is no x86-64 with AVX2"
    ),
]

_SHAPE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "initializer_range": 0.4,
    "eos_token_id": END,
}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "tied": lambda: tiny_llama(tie_word_embeddings=True),
    "no whole blocks": lambda: tiny_llama(vocab_size=77, hidden_size=40, intermediate_size=38),
    "biases": lambda: Qwen2ForCausalLM(Qwen2Config(**_SHAPE)),
    "norms of queries and keys": lambda: Qwen3ForCausalLM(Qwen3Config(**_SHAPE, head_dim=8)),
    "another family": lambda: MistralForCausalLM(MistralConfig(**_SHAPE, sliding_window=None)),
}


def answered(engine: Engine, requests: list[Request]) -> list[list[int]]:
    for request in requests:
        engine.submit(request)
    while not engine.idle:
        engine.step()
    return [request.output for request in requests]


@pytest.mark.parametrize("budget", [7, 128])
@pytest.mark.parametrize("bits", [8, 4])
def test_every_answer_is_what_its_adapter_says_alone(
    bits: quantised.Bits, budget: int, tmp_path: Path
) -> None:
    model = tiny_llama()
    serving = quantised.quantised(model, bits)
    # of the dequantised model: one brings a copy of the output layer, which peft would load
    adapter_folders = {
        name: save_adapter(model, tmp_path / name, seed=seed, **config)
        for seed, (name, config) in enumerate(CONFIGS.items())
    }
    reference = Reference(model, adapter_folders)
    engine = Engine(serving, [END], Limits(prefill_while_decoding=budget, prefill_when_idle=budget))
    names = [None, *CONFIGS]
    adapters = {name: engine.read_adapter(adapter_folders[name], name) for name in CONFIGS}
    for adapter in adapters.values():
        engine.add_adapter(adapter)
    asked = [
        (names[n % len(names)], Request(
            tuple(range(5 + n, 30 + 3 * n)), adapters.get(names[n % len(names)] or ""),
            Sampling(max_new_tokens=3 + n), "ab"[n % 2], shared_prefix=9,
        ))
        for n in range(18)
    ]  # fmt: skip
    answers = answered(engine, [request for _, request in asked])
    assert answers == [
        reference.answer(request.prompt, name, request.sampling.max_new_tokens) for name, request in asked
    ]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", MODELS)
def test_models_of_every_supported_kind_answer_as_their_own_forward_does(
    kind: str, bits: quantised.Bits, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    model = MODELS[kind]().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    serving = quantised.quantised(model, bits)
    folder = save_adapter(model, tmp_path / "adapter", r=4, target_modules=ALL_LINEAR)
    reference = Reference(model, {"adapter": folder})
    engine = Engine(serving, [END])
    engine.add_adapter(adapter := engine.read_adapter(folder, "adapter"))
    prompt = tuple(range(10, 31))
    plain, adapted = answered(
        engine,
        [
            Request(prompt, None, Sampling(max_new_tokens=12)),
            Request(prompt, adapter, Sampling(max_new_tokens=12)),
        ],
    )
    assert plain == reference.answer(prompt, None, 12)
    assert adapted == reference.answer(prompt, "adapter", 12)


def test_the_code_for_every_instruction_set_of_this_machine_answers_alike(tmp_path: Path) -> None:
    """The tests of this file once more, on the narrowest instructions that the step has code for."""
    if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
        pytest.skip("this is that run")
    report = tmp_path / "report.xml"
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", __file__, "-k",
         "every_answer or every_supported"],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-2000:]
    (suite,) = ElementTree.parse(report).getroot()
    counts = {name: int(suite.attrib[name]) for name in ("tests", "skipped", "failures", "errors")}
    assert counts == {"tests": 2 * (2 + len(MODELS)), "skipped": 0, "failures": 0, "errors": 0}


_NEEDED = {
    "AVX2": ("avx2",),
    "AVX2 VNNI": ("avx2", "avx_vnni"),
    "AVX512": ("avx512_f", "avx512_bw", "avx512_vl", "avx512_dq"),
    "AVX512 VNNI": ("avx512_f", "avx512_bw", "avx512_vl", "avx512_dq", "avx512_vnni"),
}


@torch.inference_mode()
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("rows", [1, 2, 5, 17, 30])
@pytest.mark.parametrize("instructions", native.INSTRUCTIONS)
def test_every_instruction_set_computes_the_models_own_logits(
    instructions: str, rows: int, bits: quantised.Bits
) -> None:
    able = torch.cpu.get_capabilities()
    if not all(able.get(name) for name in _NEEDED[instructions]):
        pytest.skip(f"this CPU has no {instructions}")
    torch.manual_seed(5)
    # heads of 64 numbers have code of their own
    model = tiny_llama(hidden_size=128, num_attention_heads=2, num_key_value_heads=1).eval()
    decoder = NativeDecoder(quantised.quantised(model, bits), instructions)
    cache = Cache(decoder.cache_shape, 64)
    prompt = range(3, 3 + rows)
    decoder.adapters.begin_step([None] * rows)
    chunk = PrefillChunk(cache.allocate(rows), prompt, wants_logits=True)
    (logits,) = decoder.forward(build_batch(cache.slabs, {}, [chunk], torch.device("cpu")))
    expected = model(torch.tensor([list(prompt)])).logits[0, -1]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-2 * float(expected.std()))


@torch.inference_mode()
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(value: float) -> None:
    """A broken model or adapter is found by its logits: rounding must not make numbers of what is none."""
    serving = quantised.quantised(tiny_llama(), 8)
    engine = Engine(serving, [END])
    norm = serving.norms[0]
    assert norm is not None
    norm[3] = value
    request = Request((5, 6, 7), None, probe=True)
    engine.submit(request)
    (event,) = engine.step()
    assert event.logits is not None and not event.logits.isfinite().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_an_adapter_takes_the_memory_of_its_file(
    dtype: torch.dtype, model: LlamaForCausalLM, adapter_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    source = adapter_folders["rank64-some"]
    tensors = {k: t.to(dtype) for k, t in load_file(source / "adapter_model.safetensors").items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text((source / "adapter_config.json").read_text())
    loaded = Engine(quantised.quantised(model, 8), [END]).read_adapter(folder, "a")
    taken = sum(
        t.numel() * t.element_size() for layer in loaded.layers.values() for t in (layer.down, layer.up)
    )
    assert taken == sum(t.numel() * t.element_size() for t in tensors.values())


def test_an_adapter_that_brings_another_output_layer_is_refused(
    model: LlamaForCausalLM, tmp_path: Path
) -> None:
    folder = save_adapter(model, tmp_path / "adapter", r=4, target_modules=["lm_head", "q_proj"])
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    copied = next(key for key in tensors if key.endswith("lm_head.base_layer.weight"))
    engine = Engine(quantised.quantised(model, 8), [END])
    engine.read_adapter(folder, "its own")
    save_file(tensors | {copied: tensors[copied].flip(0)}, file)
    with pytest.raises(CannotServe, match="is not the base model's"):
        engine.read_adapter(folder, "another")


def _trained(folder: Path, where: Path, seed: int) -> tuple[Path, Any, PreTrainedTokenizerFast]:
    """An adapter with its fingerprint in full precision, as training leaves it."""
    base = ModelChoice(str(folder), where, device="cpu", precision="fp32").load()
    saved = save_adapter(
        base.model, where / f"adapter-{seed}", size=0.2, seed=seed, r=8, target_modules=ALL_LINEAR
    )
    fingerprint.record(
        PeftModel.from_pretrained(copy.deepcopy(base.model), str(saved)), base.tokenizer, saved
    )
    return saved, base.model, base.tokenizer


@pytest.mark.parametrize("bits", [8, 4])
async def test_the_fingerprint_lets_the_adapter_through_that_was_trained_and_no_other(
    bits: quantised.Bits, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "model")
    right, model, tokenizer = _trained(folder, tmp_path, seed=1)
    wrong, _, _ = _trained(folder, tmp_path, seed=2)
    answerer = LocalAnswerer(quantised.quantised(model, bits), tokenizer, name="tiny", revision="1")
    await answerer.load(AdapterFiles(AdapterVersion("right", 1), right, "1" * 64))
    (wrong / fingerprint.FILE_NAME).write_text((right / fingerprint.FILE_NAME).read_text())
    with pytest.raises(AdapterRefused, match="does not say what it said when trained"):
        await answerer.load(AdapterFiles(AdapterVersion("wrong", 1), wrong, "2" * 64))
    await answerer.close()


def _prepared(folder: Path, models: Path, bits: quantised.Bits = 8) -> quantised.QuantisedModel:
    choice = ModelChoice(str(folder), models, device="cpu")
    name, revision = locating.name_and_revision(choice.name, folder)
    return quantised.prepared(choice, folder, name, revision, bits)


def _kept(models: Path) -> Path:
    return next(models.glob(f"*bit/{MANIFEST}")).parent


@pytest.mark.parametrize("bits", [8, 4])
def test_a_model_is_quantised_once_and_read_back_the_same(bits: quantised.Bits, tmp_path: Path) -> None:
    folder, models = write_tiny_model(tmp_path / "model"), tmp_path / "models"
    first = _prepared(folder, models, bits)
    made = (_kept(models) / MANIFEST).stat().st_mtime_ns
    second = _prepared(folder, models, bits)
    assert (_kept(models) / MANIFEST).stat().st_mtime_ns == made
    request = [Request((5, 6, 7, 8), None, Sampling(max_new_tokens=9)) for _ in range(2)]
    assert answered(Engine(first, [END]), request[:1]) == answered(Engine(second, [END]), request[1:])


def test_a_damaged_quantised_model_is_made_again(tmp_path: Path) -> None:
    folder, models = write_tiny_model(tmp_path / "model"), tmp_path / "models"
    before = [linear.weights.clone() for linear in _prepared(folder, models).linears]
    file = _kept(models) / "quantised.safetensors"
    file.write_bytes(file.read_bytes()[:-8] + b"spoilt!!")
    again = [linear.weights for linear in _prepared(folder, models).linears]
    assert all(map(torch.equal, before, again))


def test_other_weights_under_the_same_name_are_not_taken_for_the_quantised_ones(tmp_path: Path) -> None:
    folder, models = write_tiny_model(tmp_path / "model"), tmp_path / "models"
    before = _prepared(folder, models)
    write_tiny_model(folder, seed=1)
    after = _prepared(folder, models)
    assert not torch.equal(before.linears[0].weights, after.linears[0].weights)


@torch.inference_mode()
def _next_tokens(model: Any, tokens: list[int]) -> Tensor:
    """The log probabilities (T, V) of each token to come."""
    logits: Tensor = model(torch.tensor(tokens)[None]).logits[0]
    return logits.log_softmax(-1)


@pytest.mark.slow
async def test_the_default_model_says_the_same_in_8_bits(default_model_folder: Path) -> None:
    """Half a percent of perplexity at most, and the answer of transformers over the dequantised weights.

    What 8 bits add to the loss is averaged over all tokens that might come (the Kullback-Leibler divergence):
    at the one that does come it scatters so much that it would take thousands of places to tell.
    """
    base = ModelChoice(default_model_folder.name, default_model_folder.parent, precision="fp32").load()
    lines = Path("bot/demo/community.jsonl").read_text(encoding="utf-8").splitlines()
    text = "\n".join(f"{row['questions'][0]} {row['answer']}" for row in map(json.loads, lines))
    tokens = base.tokenizer(text).input_ids[:512]
    whole = _next_tokens(base.model, tokens)
    serving = quantised.quantised(base.model, 8)
    in_8_bits = _next_tokens(base.model, tokens)
    assert (whole.exp() * (whole - in_8_bits)).sum(-1).mean() < 0.005
    prompt = prompt_token_ids(base.tokenizer, [{"role": "user", "content": "What is a tide?"}])
    expected = Reference(base.model, {})._generate(prompt, 24, base.tokenizer.eos_token_id, {})
    engine = Engine(serving, [base.tokenizer.eos_token_id])
    assert answered(engine, [Request(tuple(prompt), None, Sampling(max_new_tokens=24))]) == [expected]
