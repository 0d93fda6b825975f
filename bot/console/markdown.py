"""Answers as HTML: Markdown is rendered, HTML in it is shown as the text that it is.

Images become their description, so that an answer can make the browser fetch nothing.
"""

from __future__ import annotations

from typing import Final

from markdown_it import MarkdownIt

_RENDERER: Final = (
    MarkdownIt("commonmark", {"html": False, "breaks": True})
    .enable(["table", "strikethrough"])
    .disable("image")
)


def as_html(markdown: str) -> str:
    """Safe HTML for a text that somebody, or a model, wrote."""
    return str(_RENDERER.render(markdown))
