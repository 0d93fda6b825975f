"""A tiny random Llama with adapters of every kind the engine serves, and what transformers + peft says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

END = 2
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
    ),
]
"""For `parametrize`: what must hold on every device."""
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONFIGS: dict[str, dict[str, Any]] = {
    "rank4-qv": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "rank8-all-rslora": {"r": 8, "lora_alpha": 4, "use_rslora": True, "target_modules": ALL_LINEAR},
    "rank16-all": {"r": 16, "lora_alpha": 32, "target_modules": ALL_LINEAR},
    "rank64-some": {
        "r": 64,
        "lora_alpha": 16,
        "target_modules": ["k_proj", "o_proj", "up_proj", "down_proj"],
    },
    "mixed-ranks": {
        "r": 8,
        "lora_alpha": 16,
        "target_modules": [*ALL_LINEAR, "lm_head"],
        "rank_pattern": {"q_proj": 5, r"layers\.1\.mlp\.up_proj": 12},
        "alpha_pattern": {"down_proj": 3},
    },
}


class Reference:
    """What transformers + peft generates for one request alone; adapters are named as in CONFIGS."""

    def __init__(self, model: PreTrainedModel, folders: dict[str, Path]) -> None:
        self._model: Any = copy.deepcopy(model)
        for name, folder in folders.items():
            if isinstance(self._model, PeftModel):
                self._model.load_adapter(str(folder), adapter_name=name)
            else:
                self._model = PeftModel.from_pretrained(self._model, str(folder), adapter_name=name)
        self._model.eval()

    def answer(
        self, prompt: Sequence[int], adapter: str | None, most: int, end: int = END, **options: Any
    ) -> list[int]:
        """The answer's tokens, without the one that ends it."""
        if adapter is None:
            with self._model.disable_adapter():
                return self._generate(prompt, most, end, options)
        self._model.set_adapter(adapter)
        return self._generate(prompt, most, end, options)

    def _generate(self, prompt: Sequence[int], most: int, end: int, options: dict[str, Any]) -> list[int]:
        ids = torch.tensor([list(prompt)], device=self._model.device)
        out = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=0,
            **options,
        )
        answer: list[int] = out[0, len(prompt) :].tolist()
        return answer[:-1] if answer and answer[-1] == end else answer


def save_adapter(
    model: PreTrainedModel, folder: Path, *, size: float = 0.3, seed: int = 0, **config: Any
) -> Path:
    """A random adapter for `model`, saved by peft into `folder`."""
    torch.manual_seed(seed)
    peft_model = get_peft_model(copy.deepcopy(model), LoraConfig(task_type="CAUSAL_LM", **config))
    for name, parameter in peft_model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=size)
    peft_model.save_pretrained(str(folder))
    return folder


def tiny_llama(**changes: Any) -> LlamaForCausalLM:
    """Two layers of random weights, large enough that no two tokens are nearly as likely."""
    torch.manual_seed(5)
    shape = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 160,
        "initializer_range": 0.4,
        "eos_token_id": END,
        "bos_token_id": 1,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    }
    return LlamaForCausalLM(LlamaConfig(**(shape | changes))).eval()


@pytest.fixture
def model() -> LlamaForCausalLM:
    """The tiny model, this test's own: the engine takes it over."""
    return tiny_llama()


@pytest.fixture(scope="session")
def adapter_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder for each of CONFIGS, as peft saves it."""
    base = tmp_path_factory.mktemp("adapters")
    return {
        name: save_adapter(tiny_llama(), base / name, seed=seed, **config)
        for seed, (name, config) in enumerate(CONFIGS.items())
    }


@pytest.fixture(scope="session")
def reference_on(adapter_folders: dict[str, Path]) -> Callable[[str], Reference]:
    """transformers + peft over the tiny model with all adapters, on a device."""
    return cache(lambda device: Reference(tiny_llama().to(device), adapter_folders))


@pytest.fixture(scope="session")
def reference(reference_on: Callable[[str], Reference]) -> Reference:
    """transformers + peft over the tiny model with all adapters, on the CPU."""
    return reference_on("cpu")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, 256 of them from id 3 on, so every Polish letter and emoji is cut into pieces."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": END} | {char: 3 + i for i, char in enumerate(alphabet)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    made.chat_template = (
        "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}a:{% endif %}"
    )
    return made


@pytest.fixture
def threads() -> Iterator[None]:
    """One thread: tiny products are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
