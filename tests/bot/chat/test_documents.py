"""What people are told of documents that were added: also what was left out of them, in their language."""

from __future__ import annotations

from typing import get_args

from bot.chat.documents import described
from bot.knowledge.documents.library import Outcome
from bot.knowledge.documents.pieces import Note, NoteKind
from bot.texts import LEFT_OUT


def test_whoever_adds_a_table_hears_which_rows_were_left_out_in_their_language() -> None:
    taken = Outcome(
        title="faq.csv", added=1, passages=4, notes=[("faq.csv", Note("rows without answer", 2, 7))]
    )
    assert described(taken, "en").endswith(
        "- faq.csv: 2 rows without question or answer left out, the first in line 7"
    )
    assert described(taken, "pl").endswith(
        "- faq.csv: pominięto 2 wiersze bez pytania lub odpowiedzi, pierwszy w linii 7"
    )


def test_whoever_adds_a_folder_hears_what_was_left_aside_in_their_language() -> None:
    taken = Outcome(
        source_kind="folder", title="docs", added=3, skipped={".png": 2, "hidden": 1, "of other sites": 4}
    )
    assert described(taken, "en").endswith("- left aside: 2 .png, 1 hidden, 4 of other sites")
    assert described(taken, "pl").endswith("- pominięto: 2 .png, 1 ukryte, 4 z innych witryn")


def test_everything_that_can_be_left_out_has_words() -> None:
    assert set(LEFT_OUT) == set(get_args(NoteKind))
