"""The examination: everybody gets the same questions, figures mean what they say, the base stays clean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training import lessons
from training import evaluation, gate, generation, lora
from training.base_model import BaseModel
from training.chat_format import ChatMessage, training_example
from training.dataset import messages
from training.evaluation import METRICS, text_metrics
from training.packing import mean_loss
from training.pairs import TrainingPair
from training.progress import Progress


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


@pytest.fixture(scope="module")
def adapters(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters that were trained, the second one longer."""
    return [
        _trained(lessons.load(tiny_model_folder), tmp_path_factory.mktemp("adapter"), epochs)
        for epochs in (1, 12)
    ]


def _trained(base: BaseModel, staging: Path, epochs: float) -> Path:
    settings = lessons.settings(epochs=epochs)
    return lora.train(base, lessons.splits(), lora.plan(8, settings), settings, staging).folder


PAIRS = lessons.splits(examination=5).examination


def _said(text: str | Callable[[str], str]) -> Any:
    """An answering function that says `text`."""

    def answering(
        base: BaseModel,
        prompts: Sequence[Sequence[ChatMessage]],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int], None],
    ) -> list[str]:
        return [text if isinstance(text, str) else text(prompt[-1]["content"]) for prompt in prompts]

    return answering


def test_base_current_and_candidate_are_compared_on_the_same_questions(
    base: BaseModel, adapters: list[Path]
) -> None:
    subjects: dict[evaluation.Subject, Path | None] = {
        "base": None,
        "current": adapters[0],
        "candidate": adapters[1],
    }
    examined = evaluation.examine(base, PAIRS, subjects, lessons.settings())
    assert [one.subject for one in examined] == ["base", "current", "candidate"]
    assert all(one.metrics.keys() == METRICS.keys() for one in examined)
    for one in examined:
        assert [answer.question for answer in one.answers] == [pair.instruction for pair in PAIRS]
        assert [answer.reference for answer in one.answers] == [pair.output for pair in PAIRS]
    losses = [one.metrics["loss"] for one in examined]
    assert losses[0] > losses[1] > losses[2]


def test_the_loss_is_that_of_the_references_per_answer_token(base: BaseModel, adapters: list[Path]) -> None:
    examined = evaluation.examine(base, PAIRS, {"base": None}, lessons.settings())[0]
    examples = [training_example(base.tokenizer, messages(pair)) for pair in PAIRS]
    assert examined.metrics["loss"] == pytest.approx(
        mean_loss(base.model, examples, most_tokens=64), rel=1e-4
    )
    single = [mean_loss(base.model, [example], most_tokens=64) for example in examples]
    assert [answer.loss for answer in examined.answers] == pytest.approx(single, rel=1e-4)


@pytest.mark.parametrize("quantisation", ["none", "4bit"])
def test_the_base_model_is_clean_afterwards(
    tiny_model_folder: Path, adapters: list[Path], quantisation: str
) -> None:
    base = lessons.load(tiny_model_folder, quantisation=quantisation)
    names = [name for name, _ in base.model.named_modules()]
    probe = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        before = base.model(input_ids=probe).logits
        for _ in range(2):
            evaluation.examine(base, PAIRS, {"base": None, "candidate": adapters[1]}, lessons.settings())
        # bitsandbytes keeps 4-bit weights in one of two layouts, which compute almost the same
        torch.testing.assert_close(
            base.model(input_ids=probe).logits, before, rtol=0, atol=0.0 if quantisation == "none" else 5e-3
        )
    assert [name for name, _ in base.model.named_modules()] == names


def test_the_base_model_is_clean_after_an_examination_that_was_stopped(
    base: BaseModel, adapters: list[Path]
) -> None:
    names = [name for name, _ in base.model.named_modules()]

    def stop(progress: Progress) -> None:
        if progress.done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluation.examine(base, PAIRS, {"candidate": adapters[0]}, lessons.settings(), on_progress=stop)
    assert [name for name, _ in base.model.named_modules()] == names


def test_progress_goes_from_nothing_to_all(base: BaseModel, adapters: list[Path]) -> None:
    heard: list[Progress] = []
    evaluation.examine(
        base, PAIRS, {"base": None, "candidate": adapters[0]}, lessons.settings(), on_progress=heard.append
    )
    done = [progress.done for progress in heard]
    assert {progress.step for progress in heard} == {"evaluation"}
    assert done == sorted(done) and done[0] == 0 and done[-1] == heard[-1].total


def test_as_many_questions_as_the_settings_allow_the_same_ones_each_time(base: BaseModel) -> None:
    pairs = [lessons.pair(number) for number in range(40)]
    settings = lessons.settings(examination_questions=10)
    chosen = evaluation.select(base, pairs, settings)
    assert len(chosen) == 10
    assert chosen == evaluation.select(base, pairs, settings)
    assert set(chosen) == set(evaluation.select(base, pairs[::-1], settings))
    grown = evaluation.select(base, [*pairs, lessons.pair(100)], settings)
    assert len(set(grown) & set(chosen)) >= 9


def test_a_pair_too_long_for_training_is_not_asked(base: BaseModel) -> None:
    long = lessons.pair(1, "A lamp. " * 200)
    assert evaluation.select(base, [*PAIRS, long], lessons.settings(max_tokens=200)) == PAIRS


def test_without_questions_nothing_is_measured_and_the_gate_holds(base: BaseModel) -> None:
    examined = evaluation.examine(base, [], {"base": None, "candidate": None}, lessons.settings())
    assert all(math.isnan(figure) for one in examined for figure in one.metrics.values())
    assert not gate.verdict(examined[0].metrics, None, examined[1].metrics).promote


def test_answers_may_come_from_another_engine(base: BaseModel) -> None:
    answering = _said(lambda question: f"You asked: {question}")
    examined = evaluation.examine(base, PAIRS, {"base": None}, lessons.settings(), answering=answering)
    assert [answer.answer for answer in examined[0].answers] == [
        f"You asked: {pair.instruction}" for pair in PAIRS
    ]


def test_the_plain_generator_is_asked_by_default(base: BaseModel) -> None:
    examined = evaluation.examine(base, PAIRS[:1], {"base": None}, lessons.settings())[0]
    prompt = [ChatMessage(role=m["role"], content=m["content"]) for m in messages(PAIRS[0])[:-1]]
    most = len([t for t in training_example(base.tokenizer, messages(PAIRS[0])).labels if t >= 0])
    assert (
        examined.answers[0].answer
        == generation.answers(base, [prompt], max_new_tokens=math.ceil(1.5 * most))[0]
    )


# --- what the figures mean ---


REFERENCES = [
    TrainingPair("What is LoRA?", output="LoRA trains two small matrices beside each frozen layer."),
    TrainingPair(
        "Czym jest LoRA?", output="To tani sposób dostrajania dużego modelu językowego.", language="pl"
    ),
]


def test_answers_that_are_the_references_have_the_best_figures() -> None:
    figures = text_metrics(REFERENCES, [pair.output for pair in REFERENCES])
    assert figures == {
        "chrf": 100.0,
        "bleu": 100.0,
        "rouge_l": 1.0,
        "distinct_2": 1.0,
        "repetition": 0.0,
        "length_ratio": 1.0,
        "language_match": 1.0,
    }


def test_silence_has_the_worst_figures_and_breaks_nothing() -> None:
    figures = text_metrics(REFERENCES, ["", ""])
    assert set(figures.values()) == {0.0}


def test_nearer_answers_score_higher() -> None:
    near = text_metrics(
        REFERENCES, ["LoRA trains small matrices beside frozen layers.", REFERENCES[1].output]
    )
    far = text_metrics(REFERENCES, ["A radio technology with a long range.", "Nie wiem nic o tej sprawie."])
    for name in ("chrf", "bleu", "rouge_l"):
        assert near[name] > far[name]


def test_an_answer_that_goes_round_in_circles_is_told_by_its_repetition() -> None:
    figures = text_metrics(REFERENCES, ["it is what it is and " * 20, "tak po prostu jest i już " * 20])
    assert figures["repetition"] > 0.9
    assert figures["distinct_2"] < 0.1
    assert figures["length_ratio"] > 10


def test_the_same_answer_to_everything_is_told_by_distinct_pairs() -> None:
    same = text_metrics(REFERENCES, ["That is overfitting, add more data."] * 2)
    assert same["repetition"] == 0.0
    assert same["distinct_2"] == 0.5


def test_answers_in_the_other_language_are_counted() -> None:
    english = "It is a cheap way to tune a large language model."
    assert text_metrics(REFERENCES, [english, english])["language_match"] == 0.5


def test_polish_words_count_whole() -> None:
    """rouge-score's own tokenizer would cut "żółć" and "łódź" down to nothing, and call them the same."""
    pair = TrainingPair("Co?", output="żółć", language="pl")
    assert text_metrics([pair], ["łódź"])["rouge_l"] == 0.0
    assert text_metrics([pair], ["ŻÓŁĆ"])["rouge_l"] == 1.0
