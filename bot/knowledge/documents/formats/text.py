"""Plain text: paragraphs, and nothing is made of them."""

from __future__ import annotations

from bot.knowledge.documents.pieces import Block, Contents


def parse(text: str) -> Contents:
    """The text as one run of prose."""
    return Contents("text", blocks=(Block("prose", text.replace("\r\n", "\n").replace("\r", "\n")),))
