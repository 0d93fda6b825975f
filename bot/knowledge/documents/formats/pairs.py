"""CSV and TSV of questions and answers: each row becomes a piece of its own.

The columns are named in the head row, or there are two and the first asks. Further columns are left out.
"""

from __future__ import annotations

import csv
import sys

from bot.knowledge.documents.pieces import Block, Contents, Note, Unreadable
from bot.knowledge.documents.recognition import ANSWER_HEADS, QUESTION_HEADS, dialect


def parse(text: str) -> Contents:
    """The rows that have both a question and an answer. Raises Unreadable."""
    found = dialect(text)
    assert found is not None, "recognised as a table of questions and answers"
    delimiter, has_head = found
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    question_at, answer_at = 0, 1
    blocks: list[Block] = []
    lacking: list[int] = []
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if has_head:
                heads = [cell.lower() for cell in cells]
                question_at = next(place for place, head in enumerate(heads) if head in QUESTION_HEADS)
                answer_at = next(place for place, head in enumerate(heads) if head in ANSWER_HEADS)
                has_head = False
            elif len(cells) > max(question_at, answer_at) and cells[question_at] and cells[answer_at]:
                blocks.append(Block("pair", f"{cells[question_at]}\n\n{cells[answer_at]}"))
            else:
                lacking.append(rows.line_num)
    except csv.Error as error:
        raise Unreadable("broken", f"line {rows.line_num}: {error}") from None
    notes = (Note("rows without answer", len(lacking), lacking[0]),) if lacking else ()
    return Contents("pairs", blocks=tuple(blocks), notes=notes)
