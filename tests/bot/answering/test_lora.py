"""Reading an adapter's folder: what peft computes from it, or the reason why it cannot be served."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bot.answering.engine.lora import BaseLayer, CannotServe, LoadedAdapter, base_layer, read_adapter
from tests.bot.answering.conftest import ALL_LINEAR, CONFIGS, save_adapter, tiny_llama


def layers_of(model: nn.Module) -> dict[str, BaseLayer]:
    return {
        name: base_layer(m, keep_parameters=True)
        for name, m in model.named_modules()
        if isinstance(m, nn.Linear)
    }


def read(folder: Path, model: nn.Module | None = None, dtype: torch.dtype = torch.float32) -> LoadedAdapter:
    return read_adapter(folder, "hash", layers_of(model or tiny_llama()), dtype, torch.device("cpu"))


def rewrite_config(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rewrite_tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "adapter_model.safetensors"
    changed = change(load_file(file))
    save_file(changed, file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound adapter of rank 4 on two layers' q and v."""
    return save_adapter(tiny_llama(), tmp_path / "adapter", **CONFIGS["rank4-qv"])


PATTERNS: dict[str, dict[str, Any]] = CONFIGS | {
    "alpha by full path": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "up_proj"],
        "alpha_pattern": {"model.layers.0.self_attn.q_proj": 24, "up_proj": 2},
    },
    "ranks by pattern with rsLoRA": {
        "r": 4,
        "lora_alpha": 8,
        "use_rslora": True,
        "target_modules": ["q_proj", "down_proj"],
        "rank_pattern": {"^model.layers.1.*q_proj": 9},
        "alpha_pattern": {"down_proj": 3},
    },
    "pattern that begins like another name": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["up_proj", "q_proj"],
        "alpha_pattern": {"proj": 1, "p_proj": 5},
    },
}


@pytest.mark.parametrize("name", PATTERNS)
def test_what_is_read_is_what_peft_would_add_to_the_weights(name: str, tmp_path: Path) -> None:
    folder = save_adapter(tiny_llama(), tmp_path / "a", **PATTERNS[name])
    base = tiny_llama()
    merged: Any = PeftModel.from_pretrained(copy.deepcopy(base), str(folder)).merge_and_unload()
    read_layers = read(folder, base).layers
    for path, module in base.named_modules():
        if isinstance(module, nn.Linear):
            added = merged.get_submodule(path).weight - module.weight
            layer = read_layers.get(path)
            ours = (layer.down @ layer.up).t() if layer else torch.zeros_like(added)
            torch.testing.assert_close(ours, added, atol=1e-5, rtol=1e-4)


def test_it_is_read_in_the_precision_of_serving_and_weighs_what_its_tensors_weigh(folder: Path) -> None:
    adapter = read(folder, dtype=torch.bfloat16)
    assert {layer.down.dtype for layer in adapter.layers.values()} == {torch.bfloat16}
    # per layer: q 32 to 32, v 32 to 16, rank 4, two bytes a number
    tensors = [tensor for layer in adapter.layers.values() for tensor in (layer.down, layer.up)]
    assert sum(tensor.nbytes for tensor in tensors) == 2 * 4 * ((32 + 32) + (32 + 16)) * 2


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CannotServe, match=f"no {file}"):
        read(folder)


def test_a_pickle_is_never_read_in_place_of_safetensors(folder: Path) -> None:
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(CannotServe, match=r"no adapter_model\.safetensors"):
        read(folder)


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff\x13\x37" * 40, b"[1, 2]"])
def test_a_corrupt_file_is_named(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(CannotServe, match=f"{file} is corrupt"):
        read(folder)


def test_a_file_cut_short_is_corrupt(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CannotServe, match="is corrupt"):
        read(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"peft_type": "IA3"}, "of type IA3"),
        ({"peft_type": None}, "of type None"),
        ({"use_dora": True}, "DoRA"),
        ({"use_qalora": True}, "QALoRA"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "bias='all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"target_parameters": ["mlp.experts"]}, "target_parameters"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        ({"alora_invocation_tokens": [5, 6]}, "aLoRA"),
        ({"arrow_config": {"top_k": 2}}, "Arrow"),
        ({"monteclora_config": {"n": 2}}, "MonteCLoRA"),
        ({"init_lora_weights": "pissa"}, "'pissa'"),
        ({"init_lora_weights": "olora"}, "'olora'"),
    ],
)
def test_a_kind_of_adapter_that_would_be_computed_otherwise_is_refused(
    folder: Path, change: dict[str, Any], reason: str
) -> None:
    rewrite_config(folder, **change)
    with pytest.raises(CannotServe, match=reason):
        read(folder)


def _of(tensors: dict[str, Tensor], ending: str) -> str:
    return next(key for key in tensors if key.endswith(ending))


def _renamed(tensors: dict[str, Tensor], was: str, now: str) -> dict[str, Tensor]:
    return {key.replace(was, now): tensor for key, tensor in tensors.items()}


def _without(tensors: dict[str, Tensor], ending: str) -> dict[str, Tensor]:
    left_out = _of(tensors, ending)
    return {key: tensor for key, tensor in tensors.items() if key != left_out}


def _with(tensors: dict[str, Tensor], ending: str, tensor: Tensor) -> dict[str, Tensor]:
    return tensors | {_of(tensors, ending): tensor}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: {}, "holds no tensors"),
        (lambda t: _renamed(t, "lora_A", "lora_magnitude"), "not one of a plain LoRA"),
        (
            lambda t: _renamed(t, "layers.0", "layers.9"),
            r"no linear layer model\.layers\.9\.self_attn\.[qv]_proj",
        ),
        (lambda t: _without(t, "q_proj.lora_B.weight"), "one of the two matrices of .*q_proj is missing"),
        (lambda t: _without(t, "q_proj.lora_A.weight"), "one of the two matrices of .*q_proj is missing"),
        (lambda t: _with(t, "q_proj.lora_B.weight", torch.ones(32, 5)), "do not fit each other"),
        (lambda t: _with(t, "q_proj.lora_B.weight", torch.ones(4)), "do not fit each other"),
        (
            lambda t: _with(t, "q_proj.lora_A.weight", torch.ones(4, 40)),
            "trained for 40 to 32 .* has 32 to 32",
        ),
        (
            lambda t: _with(t, "v_proj.lora_B.weight", torch.ones(24, 4)),
            "trained for 32 to 24 .* has 32 to 16",
        ),
        (lambda t: _with(t, "q_proj.lora_A.weight", torch.full((4, 32), torch.nan)), "not numbers"),
        (lambda t: _with(t, "q_proj.lora_B.weight", torch.full((32, 4), torch.inf)), "not numbers"),
    ],
)
def test_tensors_that_do_not_fit_the_base_model_are_refused_with_the_reason(
    folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], reason: str
) -> None:
    rewrite_tensors(folder, change)
    with pytest.raises(CannotServe, match=reason):
        read(folder)


def test_an_adapter_of_a_wider_model_is_refused(tmp_path: Path) -> None:
    wider = tiny_llama(hidden_size=64)
    folder = save_adapter(wider, tmp_path / "a", r=4, target_modules=ALL_LINEAR)
    with pytest.raises(CannotServe, match="the base model has"):
        read(folder)


def test_an_output_layer_saved_beside_its_lora_must_be_the_base_models_own(tmp_path: Path) -> None:
    base = tiny_llama()
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "lm_head"])
    peft_model: Any = get_peft_model(copy.deepcopy(base), config)
    peft_model.save_pretrained(str(tmp_path / "same"))
    assert "lm_head" in read(tmp_path / "same", base).layers
    with torch.no_grad():
        peft_model.get_base_model().lm_head.base_layer.weight[0, 0] += 1
    peft_model.save_pretrained(str(tmp_path / "other"))
    with pytest.raises(CannotServe, match="brings a lm_head that is not the base model's"):
        read(tmp_path / "other", base)
