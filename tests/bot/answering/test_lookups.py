from __future__ import annotations

from bot.answering.lookups import LONGEST_S, Lookups


def test_answers_go_on_beside_a_question_that_takes_long() -> None:
    seconds = [0.0]
    lookups = Lookups(lambda: seconds[-1])
    with lookups.one():
        seconds.append(LONGEST_S)
        lookups.wait()


def test_answers_go_on_however_many_questions_follow_one_another() -> None:
    seconds = [0.0]

    def clock() -> float:
        seconds.append(seconds[-1] + LONGEST_S / 4)
        return seconds[-1]

    lookups = Lookups(clock)
    for _ in range(100):
        with lookups.one(), lookups.one():
            began = seconds[-1]
            lookups.wait()
            assert seconds[-1] <= began + 2 * LONGEST_S
