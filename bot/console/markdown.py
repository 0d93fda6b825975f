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
from markdown_it.renderer import RendererHTML, RendererProtocol
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


def _code(
    renderer: RendererProtocol, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    code = RendererHTML().fence(tokens, index, options, env)
    if not env.get("copy"):
        return code
    button = f'<button type="button" class="tl-copy">{escapeHtml(str(env["copy"]))}</button>'
    return f'<div class="tl-code">{button}{code}</div>'


_RENDERER: Final = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(
    ["table", "strikethrough"]
)
_RENDERER.add_render_rule("image", _description)
_RENDERER.add_render_rule("fence", _code)
_RENDERER.add_render_rule("text", _text)


def as_html(markdown: str, is_marked: Callable[[str], bool] | None = None, *, copy: str = "") -> str:
    """Safe HTML for a text that somebody, or a model, wrote; sentences that `is_marked` names are marked.

    `copy` labels a button at each block of code.
    """
    environment: dict[str, object] = {"copy": copy}
    if is_marked is not None:
        environment[_MARKED] = is_marked
    return str(_RENDERER.render(markdown, environment))
