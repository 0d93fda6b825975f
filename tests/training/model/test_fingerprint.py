"""Fingerprints: the adapter served is the adapter trained, on the base model that it was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.doubles.tiny_model import write_tiny_model
from tests.training import lessons
from training.errors import AdapterError
from training.model import fingerprint


def _adapted(folder: Path, *, seed: int = 1, strength: float = 0.05) -> Any:
    """The model with a LoRA whose weights are random; strength 0 changes nothing."""
    torch.manual_seed(seed)
    model = get_peft_model(lessons.load(folder).model, LoraConfig(r=4, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn_like(weight) * strength
    return model.eval()


def _said(model: Any, probes: tuple[fingerprint.Probe, ...], *, adapter: bool) -> list[torch.Tensor]:
    with torch.inference_mode():
        if adapter:
            return [model(input_ids=torch.tensor([probe.token_ids])).logits[0, -1] for probe in probes]
        with model.disable_adapter():
            return [model(input_ids=torch.tensor([probe.token_ids])).logits[0, -1] for probe in probes]


def _record(folder: Path, place: Path, **how: Any) -> fingerprint.Fingerprint:
    return fingerprint.record(_adapted(folder, **how), lessons.load(folder).tokenizer, place)


def _difference(found: fingerprint.Fingerprint, model: Any) -> str | None:
    base, adapter = (_said(model, found.probes, adapter=which) for which in (False, True))
    return fingerprint.difference(found, base, adapter, "float32")


def test_the_adapter_that_was_recorded_is_recognised(tiny_model_folder: Path, tmp_path: Path) -> None:
    recorded = _record(tiny_model_folder, tmp_path)
    assert fingerprint.read(tmp_path) == recorded
    assert _difference(recorded, _adapted(tiny_model_folder)) is None


def test_another_adapter_is_told_apart(tiny_model_folder: Path, tmp_path: Path) -> None:
    recorded = _record(tiny_model_folder, tmp_path)
    assert "does not say what it said" in (_difference(recorded, _adapted(tiny_model_folder, seed=2)) or "")


def test_another_base_model_is_told_apart(tiny_model_folder: Path, tmp_path: Path) -> None:
    recorded = _record(tiny_model_folder, tmp_path)
    other = write_tiny_model(tmp_path / "other", seed=5)
    assert "another base model" in (_difference(recorded, _adapted(other)) or "")


def test_an_adapter_that_is_not_applied_is_noticed(tiny_model_folder: Path, tmp_path: Path) -> None:
    recorded = _record(tiny_model_folder, tmp_path)
    base = _said(_adapted(tiny_model_folder), recorded.probes, adapter=False)
    assert fingerprint.difference(recorded, base, base, "float32") is not None


def test_an_adapter_that_changes_nothing_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="changes nothing"):
        _record(tiny_model_folder, tmp_path, strength=0.0)
    assert fingerprint.read(tmp_path) is None


def test_an_adapter_with_which_nothing_can_be_computed_is_refused_for_that(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match="computes no finite numbers"):
        _record(tiny_model_folder, tmp_path, strength=float("inf"))
    assert fingerprint.read(tmp_path) is None
    recorded = _record(tiny_model_folder, tmp_path)
    spoilt = _adapted(tiny_model_folder, strength=float("nan"))
    assert "computes no finite numbers" in (_difference(recorded, spoilt) or "")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": 2, "probes": []}', '{"format": 1, "precision": "float32", "probes": []}'],
)
def test_a_fingerprint_that_cannot_be_read_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / fingerprint.FILE_NAME).write_text(content, encoding="utf-8")
    with pytest.raises(AdapterError, match="cannot be read"):
        fingerprint.read(tmp_path)


def test_a_fingerprint_of_a_larger_vocabulary_is_another_model_s(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    _record(tiny_model_folder, tmp_path)
    file = tmp_path / fingerprint.FILE_NAME
    content = json.loads(file.read_text(encoding="utf-8"))
    content["probes"][0]["base"]["top_ids"][0] = 10**6
    file.write_text(json.dumps(content), encoding="utf-8")
    found = fingerprint.read(tmp_path)
    assert found is not None
    assert "another base model" in (_difference(found, _adapted(tiny_model_folder)) or "")
