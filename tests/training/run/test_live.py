"""How long a run still takes, told from within it; and its curve so far."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from feedback.tables import Run
from training.data.dataset import Splits
from training.data.pairs import TrainingPair
from training.data.retrieval import FoundPassage, with_notes
from training.examination.evaluation import count_unanswerable
from training.progress import Progress
from training.run import lifecycle
from training.run.live import MOST_POINTS, TOKENS_A_QUESTION, Ahead, Live, cost
from training.run.steps import questions_of
from training.settings import TrainingSettings

STEPS, STEP_S, QUESTIONS, QUESTION_S = 40, 3.0, 50, 2.5


class Clock:
    """Time that a test moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _promises(
    live: Live, clock: Clock, subjects: int, dearer: Sequence[float] = (1.0, 1.7, 1.3)
) -> list[tuple[float, float | None]]:
    """A whole run: after each report, when it was and what time left was promised."""
    told = []
    for done in range(STEPS + 1):
        clock.now_s += STEP_S if done else 20.0
        told.append((clock.now_s, live.told(Progress("training", done, STEPS)).seconds_left))
    live.examining(subjects, QUESTIONS)
    units = 3 * QUESTIONS  # losses go fast, answers slowly: units say little about seconds
    for subject, times in enumerate(dearer[:subjects]):
        for done in range(1, units + 1):
            clock.now_s += times * QUESTION_S * QUESTIONS * (0.1 / 100 if done <= 100 else 0.9 / 50)
            progress = Progress("evaluation", subject * units + done, subjects * units)
            told.append((clock.now_s, live.told(progress).seconds_left))
    return told


@pytest.mark.parametrize("subjects", [2, 3])
@pytest.mark.parametrize("earlier_run", [True, False])
def test_after_a_tenth_of_the_run_the_promised_end_is_within_thirty_percent(
    subjects: int, earlier_run: bool
) -> None:
    """Of a run whose examination takes longer than its training, which a look at one step cannot know.

    Or within a twelfth of the whole run: near the end nothing tells that the last adapter answers faster.
    """
    clock = Clock()
    live = Live(clock)
    # without an earlier run the cost of a question follows from the tokens that a step takes
    tokens = round(TOKENS_A_QUESTION * STEPS * STEP_S / QUESTION_S)
    live.expect(
        Ahead(
            seconds=STEPS * STEP_S,
            tokens=tokens,
            steps=STEPS,
            asked=QUESTIONS * cost(subjects),
            question_s=QUESTION_S if earlier_run else None,
        )
    )
    told = _promises(live, clock, subjects)
    end_s = told[-1][0]
    late = [(at_s, left_s) for at_s, left_s in told if 0.1 * end_s < at_s < 0.95 * end_s]
    assert late
    for at_s, left_s in late:
        assert left_s is not None
        assert left_s == pytest.approx(end_s - at_s, rel=0.3, abs=end_s / 12), at_s


def test_an_adapter_that_answers_as_fast_as_the_base_model_is_seen_to_while_it_is_asked() -> None:
    """Losses go fast and answers slowly, so only the base model's own times say how far it is."""
    clock = Clock()
    live = Live(clock)
    live.expect(Ahead(seconds=120.0, tokens=1, steps=STEPS, asked=cost(2) * QUESTIONS, question_s=QUESTION_S))
    told = _promises(live, clock, subjects=2, dearer=(1.0, 1.0))
    end_s = told[-1][0]
    adapters_s = QUESTIONS * QUESTION_S
    late = [
        (end_s - at_s, left_s) for at_s, left_s in told if adapters_s * 0.05 < end_s - at_s < adapters_s * 0.7
    ]
    assert late
    for true_s, left_s in late:
        assert left_s == pytest.approx(true_s, rel=0.3)


def test_while_an_examination_is_prepared_the_whole_of_it_is_left() -> None:
    clock = Clock()
    clock.now_s = 9000.0  # no clock starts with the run
    live = Live(clock)
    live.expect(Ahead(seconds=120.0, tokens=1, steps=STEPS, asked=10.0, question_s=2.5))
    assert live.told(Progress("evaluation")).seconds_left == 25.0


def test_nothing_is_promised_before_anything_is_known() -> None:
    assert Live(Clock()).told(Progress("training", 0, 10)).seconds_left is None
    assert Live(Clock()).told(Progress("dataset")).seconds_left is None


def test_the_curve_has_each_measurement_once_and_stays_short() -> None:
    live = Live(Clock())
    for step in range(1, 4):
        live.told(Progress("training", step, 2000, figures={"loss": 3.0}))
    told = live.told(Progress("training", 4, 2000, figures={"loss": 2.5}))
    assert told.curve == ({"step": 1.0, "loss": 3.0}, {"step": 4.0, "loss": 2.5})
    for step in range(5, 2000):
        told = live.told(Progress("training", step, 2000, figures={"loss": 1 / step}))
    assert len(told.curve) <= MOST_POINTS
    assert told.curve[0]["step"] == 1.0 and told.curve[-1]["step"] > 1900
    assert live.told(Progress("evaluation", 1, 10)).curve == told.curve


@pytest.mark.parametrize(("again", "asked"), [(True, 4 + 2), (False, 4)])
def test_questions_that_are_asked_again_without_their_notes_count(again: bool, asked: int) -> None:
    pairs = [TrainingPair(f"Question {number}?", output="Answer.") for number in range(8)]
    noted = [with_notes(pair, [FoundPassage(1, "h", "Title", "Text.")]) for pair in pairs[:4]]
    splits = Splits([], [], [*noted, *pairs[4:]])
    settings = TrainingSettings(examination_questions=4, examine_without_notes=again)
    assert questions_of(splits, settings) == asked + count_unanswerable()


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (lifecycle.CANCELLED, "Trening przerwano przed końcem. Nic z niego nie zachowano."),
        (lifecycle.PAUSED.format(step=7), "ruszy od kroku 7."),
        ("No disk is left.", "No disk is left."),
    ],
)
def test_how_a_stopped_run_ended_is_said_in_polish(verdict: str, said: str) -> None:
    run = Run(adapter_name="community", started_by="ada", state="cancelled", verdict=verdict)
    assert lifecycle.verdict(run, "pl").endswith(said) and lifecycle.verdict(run, "en") == verdict
