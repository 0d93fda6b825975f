"""Answers as HTML: Markdown is rendered, HTML in it is shown as the text that it is.

Images become their description, so that an answer can make the browser fetch nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict


def _description(
    renderer: RendererProtocol, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    return escapeHtml(tokens[index].content)


_RENDERER: Final = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(
    ["table", "strikethrough"]
)
_RENDERER.add_render_rule("image", _description)


def as_html(markdown: str) -> str:
    """Safe HTML for a text that somebody, or a model, wrote."""
    return str(_RENDERER.render(markdown))
