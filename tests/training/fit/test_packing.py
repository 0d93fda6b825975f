"""Packed rows: many examples in one row, and yet each is learnt as if it were alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trl.trainer.utils import add_fused_lm_head

from tests.training import lessons
from training.data.dataset import messages
from training.fit import packed_attention
from training.fit.packing import answer_loss, example_losses, mean_loss, pack, rows_of
from training.model.base_model import BaseModel
from training.model.chat_format import IGNORED, Example, training_example


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


def _examples(base: BaseModel, count: int) -> list[Example]:
    return [
        training_example(base.tokenizer, messages(lessons.pair(n, "A lamp." * (n + 1)))) for n in range(count)
    ]


def _alone(base: BaseModel, example: Example) -> torch.Tensor:
    """The summed loss by transformers' own forward pass over one plain sequence."""
    labelled = sum(label != IGNORED for label in example.labels)
    said = base.model(input_ids=torch.tensor([example.token_ids]), labels=torch.tensor([example.labels]))
    loss: torch.Tensor = said.loss * labelled
    return loss


@pytest.fixture(params=["under a mask", "example by example", "with an example too long for that"])
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """The ways to attend over a row; without this fixture a test takes the mask."""
    if request.param == "under a mask":
        return lambda model: nullcontext()
    if request.param == "with an example too long for that":
        monkeypatch.setattr(packed_attention, "LONGEST", 30)
    return packed_attention.used_by


def test_the_loss_of_a_packed_row_is_that_of_its_examples_one_by_one(
    base: BaseModel, attention: Callable[[Any], Any]
) -> None:
    examples = _examples(base, 5)
    with torch.no_grad(), attention(base.model):
        together = answer_loss(base.model, pack(examples)).item()
        alone = sum(_alone(base, example).item() for example in examples)
    assert together == pytest.approx(alone, rel=1e-4)


def test_the_head_that_holds_no_logits_gives_the_same_loss_and_gradients(tiny_model_folder: Path) -> None:
    base = lessons.load(tiny_model_folder)
    add_fused_lm_head(base.model)
    weight = base.model.model.layers[0].self_attn.q_proj.weight.requires_grad_(True)
    found = []
    for fused in (False, True):
        loss = answer_loss(base.model, pack(_examples(base, 4)), fused=fused)
        loss.backward()
        found.append((loss.detach(), weight.grad.clone()))
        weight.grad = None
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_every_example_keeps_its_own_loss_in_company(base: BaseModel) -> None:
    examples = _examples(base, 5)
    found = example_losses(base.model, examples, most_tokens=10_000)
    with torch.no_grad():
        assert found == pytest.approx([_alone(base, example).item() for example in examples], rel=1e-4)


@pytest.mark.parametrize("begun", [True, False], ids=["with a common beginning", "without"])
def test_the_gradients_of_a_packed_row_are_those_of_its_examples(
    tiny_model_folder: Path, attention: Callable[[Any], Any], begun: bool
) -> None:
    base = lessons.load(tiny_model_folder)
    examples = _examples(base, 4)
    if not begun:
        examples = [
            Example([first, *example.token_ids[1:]], example.labels)
            for first, example in zip((5, 6, 7, 8), examples, strict=True)
        ]
    layers = [layer.self_attn for layer in base.model.model.layers]
    weights = [getattr(layer, name).weight for layer in layers for name in ("q_proj", "k_proj", "v_proj")]
    for weight in weights:
        weight.requires_grad_(True)
    with attention(base.model):
        answer_loss(base.model, pack(examples)).backward()
    packed = [weight.grad.clone() for weight in weights]
    for weight in weights:
        weight.grad = None
    for example in examples:
        _alone(base, example).backward()
    for found, weight in zip(packed, weights, strict=True):
        torch.testing.assert_close(found, weight.grad, rtol=1e-3, atol=1e-5)


def test_a_model_attends_as_before_after_its_rows_are_through(base: BaseModel) -> None:
    before = base.model.config._attn_implementation
    with packed_attention.used_by(base.model):
        assert packed_attention.is_used_by(base.model)
        said = base.model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    assert base.model.config._attn_implementation == before
    torch.testing.assert_close(base.model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits, said)


def test_no_loss_is_taken_on_the_prompt(base: BaseModel) -> None:
    example = _examples(base, 1)[0]
    answer = [position for position, label in enumerate(example.labels) if label != IGNORED]
    with torch.no_grad():
        logits = base.model(input_ids=torch.tensor([example.token_ids])).logits[0]
        by_hand = sum(
            -torch.log_softmax(logits[position - 1], dim=-1)[example.token_ids[position]].item()
            for position in answer
        )
        assert answer_loss(base.model, pack([example])).item() == pytest.approx(by_hand, rel=1e-4)
    assert len(answer) < len(example.token_ids) / 2


def test_the_common_beginning_is_computed_once(base: BaseModel) -> None:
    examples = _examples(base, 6)
    row = pack(examples)
    tokens = sum(len(example.token_ids) for example in examples)
    assert row["input_ids"].shape[1] < 0.7 * tokens


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(3, 9), min_size=1, max_size=6),
            st.lists(st.integers(3, 9), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_examples_of_any_likeness_can_share_a_row(
    base: BaseModel, parts: list[tuple[list[int], list[int]]]
) -> None:
    examples = [Example(prompt + answer, [IGNORED] * len(prompt) + answer) for prompt, answer in parts]
    found = example_losses(base.model, examples, most_tokens=10_000)
    with torch.no_grad():
        assert found == pytest.approx([_alone(base, example).item() for example in examples], rel=1e-3)


def test_rows_stay_within_their_tokens_and_keep_the_order(base: BaseModel) -> None:
    examples = _examples(base, 9)
    rows = list(rows_of(examples, 120))
    assert [example for row in rows for example in row] == examples
    assert all(pack(row)["input_ids"].shape[1] <= 120 for row in rows if len(row) > 1)
    assert len(rows) > 1


def test_an_example_longer_than_a_row_gets_one_of_its_own(base: BaseModel) -> None:
    examples = _examples(base, 3)
    assert [len(row) for row in rows_of(examples, 8)] == [1, 1, 1]


def test_the_mean_counts_every_token_the_same(base: BaseModel) -> None:
    examples = _examples(base, 4)
    tokens = sum(label != IGNORED for example in examples for label in example.labels)
    summed = sum(example_losses(base.model, examples, most_tokens=64))
    assert mean_loss(base.model, examples, most_tokens=10_000) == pytest.approx(summed / tokens, rel=1e-4)


def test_the_loss_on_nothing_is_no_number(base: BaseModel) -> None:
    assert math.isnan(mean_loss(base.model, [], most_tokens=100))
