"""How long work still takes."""

from __future__ import annotations

import pytest

from training.progress import Pace


class Clock:
    """A time that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_time_left_is_right_from_the_first_tenth_on_whatever_the_first_step_took(clock: Clock) -> None:
    pace = Pace(clock)
    assert pace.seconds_left("training", 0, 100) is None
    clock.now = 300  # the first step loads and compiles
    assert pace.seconds_left("training", 1, 100) is None
    for done in range(2, 100):
        clock.now += 2
        left = pace.seconds_left("training", done, 100)
        assert left == pytest.approx(2 * (100 - done))


def test_what_an_earlier_run_has_done_says_nothing_about_the_pace(clock: Clock) -> None:
    pace = Pace(clock)
    assert pace.seconds_left("training", 50, 100) is None
    clock.now = 10
    assert pace.seconds_left("training", 51, 100) == pytest.approx(490)


def test_another_step_has_a_pace_of_its_own(clock: Clock) -> None:
    pace = Pace(clock)
    pace.seconds_left("training", 1, 10)
    clock.now = 100
    pace.seconds_left("training", 10, 10)
    assert pace.seconds_left("evaluation", 1, 50) is None
    clock.now = 101
    assert pace.seconds_left("evaluation", 2, 50) == pytest.approx(48)
    assert pace.seconds_left("evaluation", 2, 0) is None


def test_a_stage_that_begins_anew_under_the_same_name_is_measured_anew(clock: Clock) -> None:
    pace = Pace(clock)
    pace.seconds_left("training", 30, 40)
    clock.now = 10
    assert pace.seconds_left("training", 1, 40) is None
