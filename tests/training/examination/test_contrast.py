"""Contrast: who competes with whom, what a question adds, and that one row says the same as many."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training import lessons
from training.data.dataset import messages
from training.examination import contrast
from training.examination.contrast import PANEL, Competitor
from training.fit.packing import example_losses
from training.model.chat_format import training_example


def _competitor(number: int, language: str = "en", community: int = 1, **given: object) -> Competitor:
    values = {"alike": (language, True, community), "order": ("qa", number), "answer": number} | given
    return Competitor(**values)  # type: ignore[arg-type]


# --- panels ---


def test_every_question_competes_once_in_panels_of_about_the_same_size() -> None:
    made = contrast.panels([_competitor(number) for number in range(18)])
    assert sorted(index for panel in made for index in panel) == list(range(18))
    assert [len(panel) for panel in made] == [6, 6, 6]


def test_neighbours_in_kind_and_length_compete() -> None:
    competitors = [_competitor(number) for number in random.Random(1).sample(range(16), 16)]
    made = contrast.panels(competitors)
    halves = [{competitors[index].order[1] // PANEL for index in panel} for panel in made]
    assert sorted(map(list, halves)) == [[0], [1]]


def test_answers_that_say_the_same_never_compete() -> None:
    made = contrast.panels([_competitor(number, answer=number % 5) for number in range(20)])
    assert all(len({number % 5 for number in panel}) == len(panel) for panel in made)
    assert sum(map(len, made)) == 20


def test_languages_never_compete_while_small_communities_and_examinations_do() -> None:
    few = [_competitor(number, community=number) for number in range(3)]
    made = contrast.panels([*few, _competitor(3, "pl"), _competitor(4, "pl")])
    assert sorted(map(sorted, made)) == [[0, 1, 2], [3, 4]]


def test_large_communities_keep_to_themselves() -> None:
    made = contrast.panels([_competitor(number, community=number % 2) for number in range(16)])
    assert all(len({number % 2 for number in panel}) == 1 for panel in made)


def test_whoever_has_no_competitor_is_in_no_panel() -> None:
    assert contrast.panels([_competitor(number, answer=1) for number in range(5)]) == []
    assert contrast.panels([]) == []


def test_the_same_questions_in_another_order_compete_with_the_same_ones() -> None:
    one = [_competitor(number % 3, answer=number) for number in range(20)]
    other = one[::-1]
    by_answer = [
        {frozenset(given[index].answer for index in panel) for panel in contrast.panels(given)}
        for given in (one, other)
    ]
    assert by_answer[0] == by_answer[1]


# --- ranks ---


LIKELIHOODS = [[-10.0, -14.0, -15.0], [-13.0, -9.0, -12.0], [-11.0, -13.0, -12.0]]


def test_the_answer_that_gains_most_from_its_question_is_right() -> None:
    assert contrast.ranks(LIKELIHOODS) == [1.0, 1.0, 1.0]


def test_what_makes_an_answer_or_a_whole_style_likelier_changes_no_rank() -> None:
    answers, questions = (3.0, 0.0, 25.0), (0.0, 7.0, 1.0)
    shifted = [
        [value + answers[j] + questions[i] for j, value in enumerate(row)]
        for i, row in enumerate(LIKELIHOODS)
    ]
    assert contrast.ranks(shifted) == contrast.ranks(LIKELIHOODS)
    assert contrast.gains(shifted)[0][0] - contrast.gains(shifted)[0][1] == pytest.approx(
        contrast.gains(LIKELIHOODS)[0][0] - contrast.gains(LIKELIHOODS)[0][1]
    )


def test_a_question_is_told_by_its_answer_whatever_makes_the_answer_likelier_everywhere() -> None:
    likelier = [[value + (9.0, 0.0, 4.0)[j] for j, value in enumerate(row)] for row in LIKELIHOODS]
    assert contrast.ranks_of_questions(LIKELIHOODS) == [1.0, 1.0, 2.0]
    assert contrast.ranks_of_questions(likelier) == [1.0, 1.0, 2.0]


def test_a_model_that_tells_nothing_apart_has_the_last_place() -> None:
    assert contrast.ranks([[-5.0] * 4] * 4) == contrast.ranks_of_questions([[-5.0] * 4] * 4) == [4.0] * 4


def test_what_is_no_number_has_no_rank() -> None:
    ranks = contrast.ranks([[math.nan] * 2, [-1.0, -2.0]])
    assert all(map(math.isnan, ranks))


# --- scores ---


@pytest.mark.parametrize("most_tokens", [64, 400, 5000])
def test_answers_scored_in_shared_rows_have_the_likelihoods_that_each_has_alone(
    tiny_model_folder: Path, most_tokens: int
) -> None:
    base = lessons.load(tiny_model_folder)
    pairs = [lessons.pair(number, f"Item {number} is " + "a lamp " * (number % 3 + 1)) for number in range(6)]
    made = [[0, 1, 2], [3, 4, 5]]
    examples = [training_example(base.tokenizer, messages(pair)) for pair in pairs]
    losses, likelihoods = contrast.scored(base.model, examples, made, most_tokens=most_tokens)
    alone = [
        [
            [
                -example_losses(
                    base.model,
                    [
                        training_example(
                            base.tokenizer, messages(replace(pairs[own], output=pairs[other].output))
                        )
                    ],
                    most_tokens=1,
                )[0]
                for other in panel
            ]
            for own in panel
        ]
        for panel in made
    ]
    assert losses == pytest.approx(example_losses(base.model, examples, most_tokens=1), rel=1e-4)
    short = [i for i, pair in enumerate(pairs) if _tokens(base, pair.output) <= contrast.ANSWER_TOKENS]
    assert len(short) > 1
    for panel, ours, theirs in zip(made, likelihoods, alone, strict=True):
        for row, expected in zip(ours, theirs, strict=True):
            for other, value, wanted in zip(panel, row, expected, strict=True):
                assert value == pytest.approx(wanted, rel=1e-4) if other in short else value > wanted


def _tokens(base: object, text: str) -> int:
    return len(base.tokenizer(text)["input_ids"]) + 1  # type: ignore[attr-defined]
