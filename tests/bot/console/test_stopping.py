"""What happens to an answer under way, with a model that takes long enough to be interfered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from transformers import LlamaConfig, LlamaForCausalLM

from tests.bot.console.conftest import Served
from tests.doubles.tiny_model import CONTEXT, write_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

# a person would be too slow
STOP_AT_THE_FIRST_WORD = """
new MutationObserver((_, observer) => {
  if (!document.querySelector('.tl-answer .tl-prose')?.textContent.trim()) return;
  observer.disconnect();
  document.querySelector('[aria-label=Stop]').click();
}).observe(document.body, {subtree: true, childList: true, characterData: true});
"""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's tokenizer with weights that take some ten milliseconds a token."""
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "slow")
    size = LlamaConfig.from_pretrained(folder)
    config = LlamaConfig(
        vocab_size=size.vocab_size,
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=20,
        num_attention_heads=6,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def longest_answer() -> int:
    """All that the context takes, which is a matter of seconds."""
    return CONTEXT - 120


async def test_a_page_opened_again_goes_on_with_the_answer_under_way(page: Page, served: Served) -> None:
    await page.goto("/")
    await page.get_by_role("textbox", name="Ask something").fill("Do not lose this")
    await page.keyboard.press("Enter")
    await expect(page.locator(".tl-answer .tl-prose")).not_to_be_empty()
    await page.reload()
    await expect(page.get_by_text("Do not lose this")).to_have_count(1)
    await expect(page.get_by_role("article")).to_have_attribute("aria-busy", "true")
    before = len(await page.locator(".tl-answer .tl-prose").inner_text())
    await page.wait_for_function(
        "before => document.querySelector('.tl-answer .tl-prose').innerText.length > before", arg=before
    )
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_text("Stopped.")).to_be_visible()
    assert [turn.state for turn in await served.turns()] == ["cancelled"]


async def test_stop_keeps_what_was_said_and_the_next_question_is_free(page: Page, served: Served) -> None:
    await page.goto("/")
    await page.evaluate(STOP_AT_THE_FIRST_WORD)
    await page.get_by_role("textbox", name="Ask something").fill("Talk for a long time")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Stopped.")).to_be_visible()
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    turn = (await served.turns())[-1]
    assert turn.state == "cancelled" and turn.answer.strip()
    shown = await page.get_by_role("article").locator(".tl-prose").inner_text()
    assert shown.strip()
    await page.reload()
    await expect(page.get_by_text("Stopped.")).to_be_visible()
