"""Answers as HTML: rendered, and harmless."""

from __future__ import annotations

import pytest

from bot.console.markdown import as_html


def test_markdown_is_rendered() -> None:
    html = as_html("**Bold** and `code`\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    for tag in ("<strong>", "<code>", "<li>", "<table>"):
        assert tag in html


@pytest.mark.parametrize(
    "text", ["<script>steal()</script>", "a <img src=x onerror=steal()> b", "<b onclick=x>"]
)
def test_html_is_shown_as_the_text_that_it_is(text: str) -> None:
    html = as_html(text)
    assert "&lt;" in html and "<script" not in html and "<img" not in html and "<b " not in html


def test_a_link_cannot_carry_a_script() -> None:
    assert "href" not in as_html("[press me](javascript:steal())")


def test_an_image_becomes_its_description() -> None:
    assert (
        as_html('![a <b>"tracker"](https://evil.example/p.png)') == "<p>a &lt;b&gt;&quot;tracker&quot;</p>\n"
    )


def test_marked_sentences_stand_out_and_stay_harmless() -> None:
    html = as_html(
        "Begin <b>. **Water** the roses daily. End.", lambda part: "roses" in part or "<b>" in part
    )
    assert html == (
        "<p><mark>Begin &lt;b&gt;.</mark> <strong>Water</strong><mark> the roses daily.</mark> End.</p>\n"
    )
    assert "<mark>" not in as_html("The roses.")


def test_a_block_of_code_gets_a_button_where_one_is_asked_for_and_stays_text() -> None:
    block = "```html\n<b>x</b>\n```"
    assert "<button" not in as_html(block)
    html = as_html(block, copy="Copy <it>")
    assert '<button type="button" class="tl-copy">Copy &lt;it&gt;</button>' in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html and "<b>" not in html
