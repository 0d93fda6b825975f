"""Answers as HTML: Markdown is rendered, HTML in it is shown as the text that it is.

Images become their description, so that an answer can make the browser fetch nothing. Sentences can be
marked, such as those of a source that an answer took over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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


_MARKED: Final = "marked"
_SENTENCES: Final = re.compile(r"(?<=[.!?…])(\s+)")


def _text(
    renderer: RendererProtocol, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    is_marked: Callable[[str], bool] | None = env.get(_MARKED)
    content = tokens[index].content
    if is_marked is None:
        return escapeHtml(content)
    parts = [
        f"<mark>{escapeHtml(part)}</mark>" if part.strip() and is_marked(part) else escapeHtml(part)
        for part in _SENTENCES.split(content)
    ]
    return "".join(parts)


_RENDERER: Final = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(
    ["table", "strikethrough"]
)
_RENDERER.add_render_rule("image", _description)
_RENDERER.add_render_rule("text", _text)


def as_html(markdown: str, is_marked: Callable[[str], bool] | None = None) -> str:
    """Safe HTML for a text that somebody, or a model, wrote; sentences that `is_marked` names are marked."""
    return str(_RENDERER.render(markdown, {} if is_marked is None else {_MARKED: is_marked}))
