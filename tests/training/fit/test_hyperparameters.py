"""The method of a run: what is set, or what there is most to learn from, with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training import lessons
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.fit import hyperparameters
from training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("approved", "found", "stages"),
    [
        (30, lessons.preferences(), ("sft",)),
        (30, lessons.preferences(pairs=hyperparameters.FEWEST_PREFERENCES - 1), ("sft",)),
        (30, lessons.preferences(pairs=hyperparameters.FEWEST_PREFERENCES), ("sft", "dpo")),
        (10, lessons.preferences(up=90, down=30), ("kto",)),
        (10, lessons.preferences(up=119, down=1), ("sft",)),  # nothing to tell good from bad by
        (60, lessons.preferences(up=90, down=30), ("sft",)),  # reviews teach better where there are enough
    ],
)
def test_auto_chooses_by_what_there_is(approved: int, found: Preferences, stages: tuple[str, ...]) -> None:
    assert (
        hyperparameters.choose_method(lessons.splits(train=approved), found, TrainingSettings()).stages
        == stages
    )


def test_the_choice_is_said_with_its_reason() -> None:
    chosen = hyperparameters.choose_method(
        lessons.splits(train=10), lessons.preferences(up=90, down=30), TrainingSettings()
    )
    assert chosen.why.en == (
        "KTO on 120 thumbs (90 up, 30 down): there are 120 votes without a review and only 10 approved pairs."
    )


@pytest.mark.parametrize(
    ("given", "stages"),
    [
        ({"method": "sft"}, ("sft",)),
        ({"method": "dpo"}, ("sft", "dpo")),
        ({"method": "dpo", "start_from": "current"}, ("dpo",)),
        ({"method": "kto"}, ("kto",)),
    ],
)
def test_what_is_set_is_not_chosen_otherwise(given: dict[str, Any], stages: tuple[str, ...]) -> None:
    found = lessons.preferences(pairs=3, up=3, down=3)
    assert (
        hyperparameters.choose_method(lessons.splits(train=30), found, TrainingSettings(**given)).stages
        == stages
    )


@pytest.mark.parametrize(
    ("method", "sentence"),
    [("dpo", r"no answer preferred over another.*METHOD=auto"), ("kto", r"3 good and 0 bad.*METHOD=auto")],
)
def test_a_method_without_anything_to_learn_from_says_what_to_do(method: Any, sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        hyperparameters.choose_method(
            lessons.splits(train=30), lessons.preferences(up=3), TrainingSettings(method=method)
        )
