"""Nearly the same question is never both examined and trained on; a person's own choice is respected."""

from __future__ import annotations

from feedback.conversations import Spoken
from training.data.candidates import Candidate
from training.data.pairs import TrainingPair
from training.data.splits import Divided, Former, divide
from training.settings import TrainingSettings

SETTINGS = TrainingSettings(validation_share=0.2)
SUBJECTS = (
    "poetry", "medicine", "chess", "cooking", "law", "physics", "gardening", "football", "music", "travel",
    "history", "finance", "biology", "painting", "sailing",
)  # fmt: skip


ANSWERS = [f"Number {number}: {subject} comes first." for number, subject in enumerate(SUBJECTS * 3)]
PHRASINGS = (
    "How do beginners get from {} to {}?",
    "how do beginners get from {} to {} ??",
    "And how would a beginner get from {} to {}",
)


def test_nearly_the_same_questions_of_different_conversations_stay_on_one_side() -> None:
    divided = divide(_phrased(), Former(), SETTINGS)
    assert all(len(sides) == 1 for sides in _sides(divided))
    assert len(divided.chosen["examination"]) >= 3 and len(divided.chosen["validation"]) >= 3


def test_a_near_duplicate_joins_whole_conversations() -> None:
    candidates = [
        *(_candidate(f"What about {subject} then?", n) for n, subject in enumerate(SUBJECTS)),
        *(_candidate(f"Tell me a story of {subject} and the sea.", n) for n, subject in enumerate(SUBJECTS)),
        _candidate("Which lamp should I buy for my small dark kitchen?", 0),
        _candidate("which lamp should i buy for my small dark kitchen", 1),
    ]
    divided = divide(_numbered(candidates), Former(), SETTINGS)
    sides = {
        candidate.conversation: split for split, chosen in divided.chosen.items() for candidate in chosen
    }
    assert sides[0] == sides[1]


def test_what_was_trained_on_is_left_out_where_it_says_nearly_what_is_examined() -> None:
    first = [*_phrased()[:-2]]
    divided = divide(first, Former(), SETTINGS)
    examined = divided.chosen["examination"][0]
    twin = Candidate(
        TrainingPair(examined.pair.instruction + " Please?", "", "An answer."), 1000, 1000, 1000, None, False
    )
    former = Former(
        "conversation",
        frozenset(candidate.turn for candidate in divided.chosen["examination"]),
        frozenset([1000, *(c.turn for s in ("train", "validation") for c in divided.chosen[s])]),
    )
    again = divide([*first, twin], former, SETTINGS)
    assert all(twin is not candidate for chosen in again.chosen.values() for candidate in chosen)
    assert again.left_out["near duplicate of examination"] == 1
    assert again.chosen["examination"] == divided.chosen["examination"]


def test_a_new_near_duplicate_of_what_is_examined_examines_too() -> None:
    first = _phrased()
    divided = divide(first, Former(), SETTINGS)
    former = Former(
        "conversation",
        frozenset(candidate.turn for candidate in divided.chosen["examination"]),
        frozenset(c.turn for s in ("train", "validation") for c in divided.chosen[s]),
    )
    question = divided.chosen["examination"][0].pair.instruction.upper()
    new = Candidate(TrainingPair(question, "", "An answer."), 1000, 1000, 1000, None, False)
    assert any(
        new is candidate for candidate in divide([*first, new], former, SETTINGS).chosen["examination"]
    )


def test_questions_marked_by_a_person_may_be_trained_on_in_other_words_but_not_in_the_same() -> None:
    marked = [
        Candidate(
            TrainingPair(_asked(PHRASINGS[0], n), "", "An answer."),
            500 + n,
            500 + n,
            500 + n,
            None,
            True,
        )
        for n, subject in enumerate(SUBJECTS)
    ]
    divided = divide([*_phrased(), *marked], Former(), SETTINGS)
    assert divided.chosen["examination"] == marked
    trained = divided.chosen["train"] + divided.chosen["validation"]
    assert len(trained) == 2 * len(SUBJECTS)
    assert divided.left_out["same question as examination"] == len(SUBJECTS)
    assert divided.left_out["near duplicate of examination"] == 0


def test_follow_up_questions_in_the_same_few_words_do_not_tie_conversations_together() -> None:
    candidates = []
    for n, subject in enumerate(SUBJECTS):
        first = _candidate(f"What do you think of {subject} in general?", n)
        second = _candidate("Could you go into more detail about the second point?", n)
        candidates += [first, second]
    for n, candidate in enumerate(numbered := _numbered(candidates)):
        if n % 2:
            candidate.history = (_spoken(numbered[n - 1]),)
    divided = divide(numbered, Former(), SETTINGS)
    assert divided.chosen["train"] and divided.chosen["examination"]
    assert sum(divided.left_out.values()) == 0
    assert {c.conversation for c in divided.chosen["train"]}.isdisjoint(
        c.conversation for c in divided.chosen["examination"]
    )


def test_a_question_that_most_people_ask_is_trained_on_and_others_examine() -> None:
    candidates = _numbered(
        [_candidate(f"What is LoRA{'?' * n}", n) for n in range(12)]
        + [_candidate(_asked(PHRASINGS[0], n), 100 + n) for n in range(8)]
    )
    divided = divide(candidates, Former(), SETTINGS)
    assert divided.chosen["examination"] and len(divided.chosen["train"]) >= 12
    assert all("LoRA" not in candidate.pair.instruction for candidate in divided.chosen["examination"])


def test_conversations_that_hang_together_over_corners_are_still_examined_on() -> None:
    chained = [
        _candidate(_asked(PHRASINGS[half], n), n + half)
        for half in range(2)
        for n in range(len(SUBJECTS) - 1)
    ]
    divided = divide(_numbered(chained), Former(), SETTINGS)
    examined = {candidate.pair.instruction.strip(" ?").lower() for candidate in divided.chosen["examination"]}
    trained = {candidate.pair.instruction.strip(" ?").lower() for candidate in divided.chosen["train"]}
    assert examined and len(trained) > len(SUBJECTS) // 2
    assert not examined & trained


def _phrased() -> list[Candidate]:
    """Each subject asked about in each phrasing, all in conversations of their own."""
    return _numbered(
        [
            _candidate(_asked(phrasing, n), 100 * number + n)
            for number, phrasing in enumerate(PHRASINGS)
            for n, subject in enumerate(SUBJECTS)
        ]
    )


def _answered() -> list[Candidate]:
    """Every answer to three questions in words that have nothing in common."""
    return _numbered(
        [
            Candidate(
                TrainingPair(f"{opening} {number}?", "", answer), 0, 0, 1000 * wording + number, None, False
            )
            for wording, opening in enumerate(("Which is", "Tell me about", "Could you name"))
            for number, answer in enumerate(ANSWERS)
        ]
    )


def _asked(phrasing: str, number: int) -> str:
    return phrasing.format(SUBJECTS[number], SUBJECTS[number - 1])


def _candidate(question: str, conversation: int) -> Candidate:
    return Candidate(TrainingPair(question, "", "An answer."), 0, 0, conversation, None, False)


def _numbered(candidates: list[Candidate]) -> list[Candidate]:
    for number, candidate in enumerate(candidates, start=1):
        candidate.turn = candidate.review = number
    return candidates


def _spoken(candidate: Candidate) -> Spoken:
    return Spoken(
        turn=candidate.turn,
        community=1,
        conversation=candidate.conversation,
        member=None,
        regenerates=None,
        question=candidate.pair.instruction,
        input="",
        answer=candidate.pair.output,
        mode="default",
        language="en",
        task_type="qa",
        approved=True,
        held_out=False,
        review_state="approved",
    )


def _sides(divided: Divided) -> list[set[str]]:
    """On which sides each question is, in whatever phrasing."""
    return [
        {
            split
            for split, chosen in divided.chosen.items()
            for candidate in chosen
            if candidate.conversation % 100 == number
        }
        for number in range(len(SUBJECTS))
    ]


def test_every_question_of_some_answers_is_held_back_and_of_the_others_some_wordings() -> None:
    divided = divide(_answered(), Former(), SETTINGS)
    trained = {c.pair.output for c in divided.chosen["train"] + divided.chosen["validation"]}
    asked = [c.pair.output for c in divided.chosen["examination"]]
    unseen = [answer for answer in asked if answer not in trained]
    assert unseen and len(unseen) < len(asked)
    assert all(asked.count(answer) == len(PHRASINGS) for answer in unseen)


def test_an_answer_that_was_trained_on_goes_on_being_trained_on_when_the_record_grows() -> None:
    candidates = _answered()
    known = {c.pair.output for c in candidates if c.conversation < len(ANSWERS) - 5}
    before = [c.turn for c in candidates if c.conversation < 1000 and c.pair.output in known]
    divided = divide(candidates, Former("conversation", frozenset(), frozenset(before)), SETTINGS)
    trained = {c.pair.output for c in divided.chosen["train"] + divided.chosen["validation"]}
    assert known <= trained and divided.chosen["examination"]


def test_where_marked_questions_ask_only_for_what_is_trained_on_some_answers_are_held_back() -> None:
    candidates = _answered()
    for candidate in candidates[: len(ANSWERS)]:
        candidate.held_out = True
    divided = divide(candidates, Former(), SETTINGS)
    trained = {c.pair.output for c in divided.chosen["train"] + divided.chosen["validation"]}
    unseen = {c.pair.output for c in divided.chosen["examination"]} - trained
    assert 0 < len(unseen) < len(ANSWERS) / 2
