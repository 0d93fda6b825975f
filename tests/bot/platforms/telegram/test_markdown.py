"""Models' Markdown as Telegram's HTML: well-formed whatever a model writes, and short enough."""

from __future__ import annotations

import pytest
from telegram.constants import MessageLimit

from bot.platforms.telegram.markdown import html_of, pieces
from tests.doubles.telegram_server import as_shown


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# A *b*\nc", "<b>A <i>b</i></b>\n\nc"),
        ("1. a\n2. b\n   - c", "1. a\n2. b\n  • c"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("```python\nif a < b:\n```", '<pre><code class="language-python">if a &lt; b:</code></pre>'),
        ("> a\n> > b", "<blockquote>a\n\nb\n\n</blockquote>"),
        ("| a | b |\n|---|---|\n| `1` | **2** |", "<pre>a | b\n1 | 2\n</pre>"),
        ("~~a~~ __b__", "<s>a</s> <b>b</b>"),
        ("![a](https://e.org/x.png)", '<a href="https://e.org/x.png">a</a>'),
        ('[a](https://e.org/?b="&c)', '<a href="https://e.org/?b=%22&amp;c">a</a>'),
        ("a\n\n---\n\nb", "a\n\n———\n\nb"),
        ("<b>no</b> &amp; x", "&lt;b&gt;no&lt;/b&gt; &amp; x"),
    ],
)
def test_markdown_becomes_what_telegram_can_show(markdown: str, html: str) -> None:
    assert html_of(markdown) == html


@pytest.mark.parametrize(
    "broken",
    [
        "**a",
        "`a",
        "```\na",
        "[a](",
        "[a](javascript:x)",
        "| a |\n|-",
        "*a **b* c**",
        "<a href=x>",
        "_" * 50,
    ],
)
def test_broken_markdown_is_still_well_formed(broken: str) -> None:
    found = as_shown({"text": html_of(broken) or broken, "parse_mode": "HTML"})
    assert "error_code" not in found, found


@pytest.mark.parametrize(
    "text", ["🌱" * 5000, "# a\nb\n" * 2000, "- a\n" * 3000, "word " * 3000, "> a\n\n" * 2000]
)
def test_every_piece_fits_one_message(text: str) -> None:
    for piece in pieces(text):
        assert len(piece.encode("utf-16-le")) // 2 <= MessageLimit.MAX_TEXT_LENGTH
        found = as_shown({"text": piece})
        assert "error_code" not in found
