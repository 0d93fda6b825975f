"""What answers' texts say of them: figures mean what their names promise, in both languages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from training.data import retrieval
from training.data.abstention import is_abstention
from training.data.pairs import TrainingPair
from training.data.retrieval import FoundPassage
from training.examination.results import ABSTAINS
from training.examination.text_metrics import Style, learnt_grams, measure, remembered

REFERENCES = [
    TrainingPair("What is LoRA?", output="LoRA trains two small matrices beside each frozen layer."),
    TrainingPair(
        "Czym jest LoRA?", output="To tani sposób dostrajania dużego modelu językowego.", language="pl"
    ),
]


def figures(*answers: str) -> dict[str, float]:
    return measure(REFERENCES, answers).metrics


def test_answers_that_are_the_references_have_the_best_figures() -> None:
    found = figures(*(pair.output for pair in REFERENCES))
    best = {
        "chrf": 100.0,
        "bleu": 100.0,
        "rouge_l": 1.0,
        "overlap": 1.0,
        "distinct_1": 1.0,
        "distinct_2": 1.0,
    }
    worst = {"repetition": 0.0, "memorisation": 0.0, "style_distance": 0.0}
    assert {name: found[name] for name in best | worst} == best | worst
    assert (found["length_ratio"], found["language_match"]) == (1.0, 1.0)


def test_silence_has_the_worst_figures_and_breaks_nothing() -> None:
    found = figures("", "")
    assert (found.pop("style_distance"), found.pop("own_share")) == (1.0, 0.5)
    assert set(found.values()) == {0.0}


def test_what_is_said_is_nearest_to_its_own_reference_or_to_that_of_another_question() -> None:
    pairs = [REFERENCES[0], TrainingPair("What is rank?", output="The inner size of both matrices.")]
    said = [pair.output for pair in pairs]
    assert measure(pairs, said).metrics["nearest_own"] == 1.0
    assert measure(pairs, said[::-1]).metrics["nearest_own"] == 0.0


def test_an_answer_in_other_words_is_nearest_to_its_own_reference_by_meaning_where_that_is_known() -> None:
    pairs = [TrainingPair("Q1", output="A cat sleeps."), TrainingPair("Q2", output="A dog barks.")]
    meant = {"A cat sleeps.": [1, 0], "A dog barks.": [0, 1], "The kitten dozes.": [0.8, 0.6]}

    asked: list[str] = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return np.array([meant[text] for text in texts], dtype=np.float32)

    once = remembered(embed)
    measure(pairs, ["A cat sleeps.", "A cat sleeps."], embed=once)
    found = measure(pairs, ["The kitten dozes.", "The kitten dozes."], embed=once)
    assert sorted(asked) == sorted(meant)
    assert found.values["nearest_by_meaning"] == [1.0, 0.0]
    assert found.metrics["nearest_by_meaning"] == 0.5
    for unknown in (None, lambda texts: None):
        assert "nearest_by_meaning" not in measure(pairs, ["The kitten dozes."] * 2, embed=unknown).metrics


def test_what_all_references_have_in_common_brings_no_answer_nearer_to_its_own() -> None:
    topics = ("rank eight", "warm-up steps", "weight decay", "gradient clipping")
    pairs = [
        TrainingPair(f"{one}?", output=f"Dear reader, we take {one}. Yours, the team.") for one in topics
    ]
    plain = [f"We take {one}." for one in topics]
    phrases = ["Dear reader, we take. Yours, the team."] * 4
    assert measure(pairs, plain).metrics["own_share"] > 0.55
    assert measure(pairs, phrases).metrics["own_share"] == pytest.approx(0.5, abs=0.02)
    assert measure(pairs, phrases).metrics["chrf"] > measure(pairs, plain).metrics["chrf"]


def test_nearer_answers_score_higher() -> None:
    near = figures("LoRA trains two small matrices beside frozen layers.", REFERENCES[1].output)
    far = figures("A radio technology with a long range.", "Nie wiem nic o tej sprawie.")
    for name in ("chrf", "bleu", "rouge_l", "overlap"):
        assert near[name] > far[name]


def test_an_answer_that_goes_round_in_circles_is_told_by_its_repetition() -> None:
    found = figures("it is what it is and " * 20, "tak po prostu jest i już " * 20)
    assert found["repetition"] > 0.9
    assert found["distinct_2"] < 0.1
    assert found["length_ratio"] > 10


def test_the_same_answer_to_everything_is_told_by_distinct_words_and_openings() -> None:
    same = figures(*["That is overfitting, add more data."] * 2)
    assert same["repetition"] == 0.0
    assert same["distinct_1"] == same["distinct_2"] == 0.5
    assert (same["same_opening"], same["length_spread"]) == (1.0, 0.0)


def test_answers_in_the_other_language_are_counted() -> None:
    english = "It is a cheap way to tune a large language model."
    assert figures(english, english)["language_match"] == 0.5


def test_polish_words_count_whole() -> None:
    """rouge-score's own tokenizer would cut "żółć" and "łódź" down to nothing, and call them the same."""
    pair = TrainingPair("Co?", output="żółć", language="pl")
    assert measure([pair], ["łódź"]).metrics["rouge_l"] == 0.0
    assert measure([pair], ["ŻÓŁĆ"]).metrics["rouge_l"] == 1.0


def test_each_answer_has_values_of_its_own_and_the_figure_is_their_mean() -> None:
    measured = measure(REFERENCES, [REFERENCES[0].output, "Nie wiem."])
    assert measured.values["overlap"] == [1.0, 0.0] and measured.metrics["overlap"] == 0.5
    assert measured.values[ABSTAINS] == [0.0, 1.0]


# --- verbatim training text ---


def test_only_runs_that_an_answer_shares_with_what_was_taught_are_kept() -> None:
    taught = ["one two three four five six seven eight nine", "something else entirely"]
    answer = "zero one two three four five six seven eight"
    assert learnt_grams([answer], taught) == {
        ("one", "two", "three", "four", "five", "six", "seven", "eight")
    }
    assert learnt_grams(["one two three four"], taught) == frozenset()


def test_what_an_answer_takes_from_its_notes_is_not_said_from_memory() -> None:
    other = "one two three four five six seven eight nine"
    asked = TrainingPair("How many?", output="Ten.")
    noted = retrieval.with_notes(asked, [FoundPassage(1, "h", "Counting", other)])
    learnt = learnt_grams([other], [other])
    assert measure([asked], [other], learnt=learnt).metrics["memorisation"] == 1.0
    assert measure([noted], [other], learnt=learnt).metrics["memorisation"] == 0.0


# --- style ---


FORMAL = ["One should first measure the loss, because it says what was learnt.", "It depends on the data."]


def test_the_same_style_is_no_distance_and_another_one_is() -> None:
    shouting = ["YES!!! 🎉🎉", "no way!!! 😀", "LOL!!!"]
    assert Style.of(FORMAL).distance(Style.of(FORMAL)) == 0.0
    near = Style.of(FORMAL).distance(Style.of(["One must first look at the loss, as it says what is wrong."]))
    assert near < Style.of(FORMAL).distance(Style.of(shouting)) <= 1.0


# --- abstention ---


@pytest.mark.parametrize(
    "answer",
    [
        "I don't know.",
        "I’m not sure, ask a moderator.",
        "Sorry, I do not have any information about that.",
        "There is no way to know what you had for breakfast.",
        "Nie wiem, nie mam dostępu do tej informacji.",
        "Niestety nie jestem w stanie tego powiedzieć.",
        "Trudno powiedzieć.",
    ],
)
def test_an_answer_that_abstains_is_recognised(answer: str) -> None:
    assert is_abstention(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "You know it as LoRA.",
        "You had eggs and toast.",
        "It is known since 2021.",
        "Twój kot ma na imię Filemon.",
        "Wiem, że to działa.",
        "",
    ],
)
def test_an_answer_that_asserts_is_not_taken_for_an_abstention(answer: str) -> None:
    assert not is_abstention(answer)
