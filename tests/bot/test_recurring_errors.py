"""Errors grouped by what they are about: a topic, not a habit of the language and not one person."""

from __future__ import annotations

from bot.recurring_errors import Asked, RecurringError, recurring


def asked(*questions: str, kinds: tuple[str, ...] = (), language: str = "en") -> list[Asked]:
    return [
        Asked(question, language, number, frozenset(kinds))  # type: ignore[arg-type]
        for number, question in enumerate(questions)
    ]


OTHERS = asked(*(f"Where do I find item {number}?" for number in range(20)))


def test_each_kind_has_its_own_topic_the_most_frequent_first() -> None:
    edits = asked("What are the prices?", "The price of ferns?", "Prices with tax?", kinds=("edited",))
    votes = asked(*["Czy są zniżki?"] * 4, kinds=("wrong facts",), language="pl")
    assert recurring([*OTHERS, *edits, *votes], least=3) == [
        RecurringError("wrong facts", "zniżki", 4),
        RecurringError("edited", "prices", 3),
    ]


def test_a_word_that_all_questions_have_is_no_topic() -> None:
    edits = asked(*(f"Where do I find thing {number}?" for number in range(5)), kinds=("edited",))
    found = recurring([*OTHERS, *edits], least=3)
    assert [one.topic for one in found] == ["thing"]


def test_what_only_makes_a_sentence_is_no_topic() -> None:
    edits = asked(*(f"What are the prices of fern {number}?" for number in range(5)), kinds=("edited",))
    polish = asked(*["Ile kosztują bilety?", "Ile są warte bilety?"] * 3, kinds=("edited",), language="pl")
    ferns = asked("Is a fern green?", "Do ferns need light?")
    assert [one.topic for one in recurring([*OTHERS, *edits, *ferns], least=3)] == ["prices"]
    assert [one.topic for one in recurring([*OTHERS, *polish], least=3)] == ["bilety"]


def test_one_persons_questions_are_no_topic() -> None:
    edits = [Asked("What are the prices?", "en", 1, frozenset({"edited"}))] * 9
    assert recurring([*OTHERS, *edits], least=3) == []


def test_without_errors_there_is_none() -> None:
    assert recurring([], least=1) == [] == recurring(OTHERS, least=1)
