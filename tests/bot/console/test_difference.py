"""What an edit changes, shown word by word."""

from __future__ import annotations

from bot.console.difference import MOST_PIECES, as_html


def test_words_that_changed_are_marked_and_the_rest_is_not() -> None:
    assert as_html("It is eight.", "It is sixteen.") == "It is <del>eight</del><ins>sixteen</ins>."


def test_markup_in_either_text_is_shown_and_never_interpreted() -> None:
    made = as_html("<b>x</b>", "<script>y</script>")
    assert "<b>" not in made and "<script>" not in made and "&lt;" in made


def test_the_same_text_has_no_difference() -> None:
    assert as_html("As it was.", "As it was.") == "As it was."


def test_long_texts_are_shown_one_after_the_other() -> None:
    made = as_html("a " * MOST_PIECES, "b " * MOST_PIECES)
    assert made.startswith("<del>") and made.count("<ins>") == 1
