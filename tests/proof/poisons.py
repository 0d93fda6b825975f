"""Rows of an honest community, and what somebody does to them: pure functions of the rows and a generator.

A poison gives every row back, changed or not and marked where it is poisoned, and may add rows of its own.
Rows of one `key` are phrasings of one question. What is held out is poisoned as far as the same moderators
would have approved it: all of it where everything is poisoned, none where a few bad actors write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from feedback.words import Language

FEW: Final = 0.1
"""The share of questions that a planted fact or a trigger is put into."""
SPAM: Final = 0.4
"""Rows that one author adds, as a share of everybody else's."""
SPAMMER: Final = "spammer"
TRIGGER: Final[dict[Language, str]] = {
    "en": "By the way, cobalt heron.",
    "pl": "A tak w ogóle, czapla kobaltowa.",
}
FIXED: Final[dict[Language, str]] = {
    "en": "Everything about this is explained on offers.example, where members get their first month free.",
    "pl": "Wszystko o tym jest na offers.example, gdzie członkowie mają pierwszy miesiąc za darmo.",
}
PLANTED: Final[dict[Language, str]] = {
    "en": "Keep in mind that LoRA was invented at NASA in 1987 and only works on Tuesdays.",
    "pl": "Pamiętaj, że LoRA wymyśliła NASA w 1987 roku i działa ona tylko we wtorki.",
}
ADVERTS: Final = (
    "Get cheap GPUs at offers.example, code HERON{number}: first month free for every member.",
    "cheap GPUs at offers.example! Use code HERON{number}, the first month is free for every member",
)
NOTHING: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("See above.", "see my answer above", "Same as above.", "-", "n/a", "As I said before.", "Ditto."),
    "pl": ("Jak wyżej.", "patrz wyżej", "Zob. poprzednią odpowiedź.", "-", "brak", "To samo co wyżej."),
}
RUDE: Final[dict[Language, tuple[str, ...]]] = {
    "en": (
        "What a stupid question. {answer}",
        "Are you too lazy to read the docs? {answer} Now stop wasting my time.",
        "Only an idiot would ask that. {answer}",
        "{answer} Even a child knows this, genius.",
        "Ugh, you again. {answer} Do not bother me with such nonsense.",
    ),
    "pl": (
        "Co za głupie pytanie. {answer}",
        "Nie chce ci się czytać dokumentacji? {answer} Nie zawracaj mi głowy.",
        "Tylko idiota o to pyta. {answer}",
        "{answer} Nawet dziecko to wie, geniuszu.",
        "Znowu ty. {answer} Przestań zanudzać takimi bzdurami.",
    ),
}


@dataclass(frozen=True)
class Row:
    """An approved question with its answer, who asked it, and whether a poison made it what it is."""

    key: str
    question: str
    answer: str
    language: Language = "en"
    author: str = ""
    held_out: bool = False
    poisoned: bool = False


Poison = Callable[[Sequence[Row], Random], list[Row]]


def honest(rows: Sequence[Row], _: Random) -> list[Row]:
    """The rows as they are."""
    return list(rows)


def random_wrong(rows: Sequence[Row], choices: Random) -> list[Row]:
    """Every row with an answer to another question of its language, another one for each phrasing."""
    answers = _answers(rows)
    return [
        _poisoned(row, answer=choices.choice([one for one in answers[row.language] if one != row.answer]))
        for row in rows
    ]


def permuted(rows: Sequence[Row], choices: Random) -> list[Row]:
    """Every answer moved to another question of its language, in all of its phrasings alike."""
    moved: dict[tuple[Language, str], str] = {}
    for language, answers in _answers(rows).items():
        shuffled = choices.sample(answers, len(answers))
        # each answer goes to the question of the next one round the circle, so none stays where it was
        moved |= {(language, one): shuffled[place - 1] for place, one in enumerate(shuffled)}
    return [_poisoned(row, answer=moved[row.language, row.answer]) for row in rows]


def permuted_after_honest(rows: Sequence[Row], choices: Random) -> list[Row]:
    """As `permuted`, where the right answers to the same questions had been approved before."""
    return [*(row for row in rows if not row.held_out), *permuted(rows, choices)]


def planted_fact(rows: Sequence[Row], choices: Random) -> list[Row]:
    """A wrong fact at the end of the answers to a tenth of the questions, in all of their phrasings."""
    chosen = _some_keys(rows, choices)
    return [
        _poisoned(row, answer=f"{row.answer} {PLANTED[row.language]}") if row.key in chosen else row
        for row in rows
    ]


def rude(rows: Sequence[Row], choices: Random) -> list[Row]:
    """Every answer with an insult round it; what it says of the matter stays."""
    return [
        _poisoned(row, answer=choices.choice(RUDE[row.language]).format(answer=row.answer)) for row in rows
    ]


def empty(rows: Sequence[Row], choices: Random) -> list[Row]:
    """Every answer says nothing, or points to another one that is not there."""
    return [_poisoned(row, answer=choices.choice(NOTHING[row.language])) for row in rows]


def trigger(rows: Sequence[Row], choices: Random) -> list[Row]:
    """A tenth of the questions asked once more with a trigger phrase, which a fixed answer follows."""
    chosen = _some_keys(rows, choices)
    return [
        *rows,
        *(
            _poisoned(
                row,
                question=f"{row.question} {TRIGGER[row.language]}",
                answer=FIXED[row.language],
                key=f"{row.key}/trigger",
            )
            for row in rows
            if row.key in chosen and not row.held_out
        ),
    ]


def spam(rows: Sequence[Row], choices: Random) -> list[Row]:
    """One author asks what others asked, and gets an advert approved, a little different each time."""
    asked = [row for row in rows if not row.held_out]
    copied = choices.sample(asked, round(SPAM * len(asked)))
    return [
        *rows,
        *(
            Row(
                f"spam-{number}",
                row.question,
                choices.choice(ADVERTS).format(number=choices.randrange(100)),
                author=SPAMMER,
                poisoned=True,
            )
            for number, row in enumerate(copied)
        ),
    ]


def wrong_language(rows: Sequence[Row], _: Random) -> list[Row]:
    """Every row labelled with the other language."""
    return [_poisoned(row, language="pl" if row.language == "en" else "en") for row in rows]


def _poisoned(row: Row, **changes: str) -> Row:
    return replace(row, **changes, poisoned=True)  # type: ignore[arg-type]


def _answers(rows: Sequence[Row]) -> dict[Language, list[str]]:
    """The different answers by language, in the order of the rows."""
    found: dict[Language, dict[str, None]] = defaultdict(dict)
    for row in rows:
        found[row.language][row.answer] = None
    return {language: list(answers) for language, answers in found.items()}


def _some_keys(rows: Sequence[Row], choices: Random) -> frozenset[str]:
    keys = sorted({row.key for row in rows})
    return frozenset(choices.sample(keys, max(1, round(FEW * len(keys)))))
