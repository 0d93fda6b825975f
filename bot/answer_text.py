"""What a model has said so far: its reasoning, its answer, and what of either is shown."""

from __future__ import annotations

from collections.abc import Iterator

from bot.answering.answerer import Piece
from bot.questions import TextPiece


class AnswerText:
    """The text of one answer, piece by piece. Reasoning is shown, quoted, only when `show_reasoning`."""

    def __init__(self, *, show_reasoning: bool) -> None:
        self._show_reasoning = show_reasoning
        self._said: list[str] = []
        self._thought: list[str] = []

    def take(self, piece: Piece) -> Iterator[TextPiece]:
        """Take the next piece; what it shows."""
        if piece.starts_over:
            self._thought += self._said
            self._said.clear()
        if piece.reasoning:
            first = not self._thought
            self._thought.append(piece.reasoning)
            if self._show_reasoning:
                quoted = piece.reasoning.replace("\n", "\n> ")
                yield TextPiece(f"> {quoted.lstrip()}" if first else quoted, is_reasoning=True)
        if piece.text or piece.starts_over:
            if self._show_reasoning and self._thought and not self._said and not piece.starts_over:
                yield TextPiece("\n\n", is_reasoning=True)
            self._said.append(piece.text)
            yield TextPiece(piece.text, starts_over=piece.starts_over)

    @property
    def so_far(self) -> str:
        """The answer as far as it is, with its spaces."""
        return "".join(self._said)

    @property
    def answer(self) -> str:
        """The answer."""
        return self.so_far.strip()

    @property
    def only_reasoned(self) -> bool:
        """Whether no answer came of what was thought."""
        return bool(self._thought) and not self.answer

    @property
    def shown_reasoning(self) -> str:
        """The reasoning as Markdown's quotation, where it is shown."""
        if not self._show_reasoning:
            return ""
        lines = "".join(self._thought).strip().splitlines()
        return "".join(f"> {line}\n" for line in lines).rstrip()
