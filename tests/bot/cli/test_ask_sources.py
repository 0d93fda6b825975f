"""An answer at the command line names what it is from."""

from __future__ import annotations

from pathlib import Path

from tests.bot.cli.conftest import Thumbloop


def test_an_answer_names_the_documents_that_it_was_given(thumbloop: Thumbloop, tmp_path: Path) -> None:
    rules = tmp_path / "rules.md"
    rules.write_text("# Garden rules\n\nTomatoes are planted after the ice saints, in the middle of May.\n")
    assert thumbloop("ask", "Hello?").status == 0
    assert thumbloop("knowledge", "add", rules).status == 0
    asked = thumbloop("ask", "When are tomatoes planted after the ice saints?")
    assert "[1] Garden rules" in asked.err
    assert "[1]" not in asked.out
