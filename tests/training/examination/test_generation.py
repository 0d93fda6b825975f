"""Plain generation: what transformers would say alone, many at once; it stops where the model does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import Lfm2Config, Lfm2ForCausalLM

from tests.training import lessons
from training.data.dataset import Splits, messages
from training.errors import TrainingError
from training.examination import generation
from training.fit import hyperparameters, sft
from training.model.base_model import BaseModel
from training.model.chat_format import ChatMessage, prompt_token_ids

TAUGHT = "A lamp."


@pytest.fixture(scope="module")
def taught(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was taught one short answer to everything."""
    pairs = [lessons.pair(number, TAUGHT) for number in range(8)]
    settings = lessons.settings(rank=16, alpha=32, dropout=0, epochs=40, learning_rate=0.01, patience=99)
    staging = tmp_path_factory.mktemp("taught")
    plan = hyperparameters.for_sft(len(pairs), settings)
    return sft.train(
        lessons.load(tiny_model_folder), Splits(pairs, pairs[:2], []), plan, settings, staging
    ).folder


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


@pytest.fixture
def babbling(base: BaseModel) -> BaseModel:
    """A model that cannot end its turn and says whatever comes to it."""
    torch.manual_seed(3)
    for layer in base.model.model.layers:
        layer.mlp.down_proj.weight.data.normal_(std=1.0)
    base.model.lm_head.weight = torch.nn.Parameter(torch.randn_like(base.model.lm_head.weight))
    base.model.lm_head.weight.data[base.tokenizer.eos_token_id] = 0
    return base


def _prompts(*questions: str) -> list[list[ChatMessage]]:
    return [[ChatMessage(role="user", content=question)] for question in questions]


QUESTIONS = ("Hi?", "What is LoRA, and what is it for?", "Czym jest LoRA? " * 6, "a", "Why? " * 20)


def _by_transformers(base: BaseModel, prompt: list[ChatMessage], **how: Any) -> str:
    token_ids = prompt_token_ids(base.tokenizer, prompt)
    said = base.model.generate(
        input_ids=torch.tensor([token_ids]),
        attention_mask=torch.ones(1, len(token_ids), dtype=torch.long),
        do_sample=False,
        **how,
    )
    text: str = base.tokenizer.decode(said[0, len(token_ids) :], skip_special_tokens=True)
    return text.strip()


def test_a_model_with_a_recurrence_answers_as_alone(base: BaseModel) -> None:
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    layers = ["conv", "full_attention"]
    config = Lfm2Config(vocab_size=len(base.tokenizer), num_hidden_layers=2, layer_types=layers, **shape)
    recurrent = replace(base, model=Lfm2ForCausalLM(config).eval())
    prompts = _prompts("Hi?", "Ho?")
    alone = [_by_transformers(recurrent, prompt, max_new_tokens=40) for prompt in prompts]
    assert generation.answers(recurrent, prompts, max_new_tokens=40) == alone


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_many_at_once_say_what_each_says_alone(babbling: BaseModel, penalty: float) -> None:
    prompts = _prompts(*QUESTIONS)
    together = generation.answers(babbling, prompts, max_new_tokens=24, repetition_penalty=penalty)
    alone = [
        _by_transformers(babbling, prompt, max_new_tokens=24, repetition_penalty=penalty)
        for prompt in prompts
    ]
    assert together == alone
    assert len(set(together)) == len(QUESTIONS)


def test_answers_that_have_ended_are_not_computed_on_and_the_others_say_the_same(
    babbling: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = _prompts(*QUESTIONS)
    spoken = [
        babbling.model.generate(
            input_ids=torch.tensor([prompt_token_ids(babbling.tokenizer, prompt)]),
            attention_mask=torch.ones(1, len(prompt_token_ids(babbling.tokenizer, prompt)), dtype=torch.long),
            do_sample=False,
            max_new_tokens=40,
        )[0, -40:].tolist()
        for prompt in prompts
    ]
    end = next(token for token in spoken[0][2:16] if sum(token in said for said in spoken) < len(spoken))
    monkeypatch.setattr(babbling.model.generation_config, "eos_token_id", end)
    at_once: list[int] = []
    watching = babbling.model.model.embed_tokens.register_forward_hook(
        lambda _module, given, _found: at_once.append(given[0].shape[0])
    )
    said = generation.answers(babbling, prompts, max_new_tokens=40)
    watching.remove()
    until_end = [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in spoken]
    assert said == [
        babbling.tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in until_end
    ]
    assert at_once[0] == len(prompts) and at_once[-1] < len(prompts)


def test_what_does_not_fit_into_one_batch_comes_in_several_in_order(
    babbling: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = _prompts(*QUESTIONS)
    whole = generation.answers(babbling, prompts, max_new_tokens=12)
    monkeypatch.setattr(generation, "BATCH_TOKENS", 120)
    assert generation.answers(babbling, prompts, max_new_tokens=12) == whole


def test_an_answer_ends_where_the_model_ends_its_turn(base: BaseModel, taught: Path) -> None:
    model = PeftModel.from_pretrained(base.model, str(taught)).eval()
    with_adapter = BaseModel(model, base.tokenizer, base.name, base.revision, "cpu", "fp32")
    prompts = [[ChatMessage(**message) for message in messages(lessons.pair(n))[:-1]] for n in range(3)]
    finished: list[int] = []
    said = generation.answers(
        with_adapter, prompts, max_new_tokens=100, repetition_penalty=1.0, on_progress=finished.append
    )
    assert said == [TAUGHT] * 3
    assert len(finished) < 20, "it did not go on to the 100th token"
    assert finished == sorted(finished) and finished[-1] == 3


def test_an_adapter_that_is_detached_leaves_no_trace(base: BaseModel, taught: Path) -> None:
    prompts = _prompts("What is item 1?")
    before = generation.answers(base, prompts, max_new_tokens=12)
    PeftModel.from_pretrained(base.model, str(taught)).unload()
    assert generation.answers(base, prompts, max_new_tokens=12) == before


def test_the_penalty_makes_an_answer_repeat_itself_less(babbling: BaseModel) -> None:
    def different(penalty: float) -> int:
        answer = generation.answers(
            babbling, _prompts("Tell me more."), max_new_tokens=60, repetition_penalty=penalty
        )[0]
        return len(set(babbling.tokenizer(answer)["input_ids"]))

    assert different(2.0) > different(1.0)


def test_what_progress_raises_stops_the_generation(base: BaseModel) -> None:
    def stop(finished: int) -> None:
        raise TrainingError("Stopped.")

    with pytest.raises(TrainingError):
        generation.answers(base, _prompts("Hi?"), max_new_tokens=50, on_progress=stop)


def test_no_prompts_get_no_answers(base: BaseModel) -> None:
    assert generation.answers(base, []) == []
