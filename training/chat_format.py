"""Messages to token ids by the model's own chat template; training and serving share this one file.

Leaves to others: what the messages say, and batching. A message's content can never speak for the
template: special tokens written out in it are broken up before the template sees them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token on which no loss is taken (PyTorch's cross-entropy default)."""

_BREAK = "\u2060"  # WORD JOINER: invisible, and keeps the written-out token from being one


class ChatMessage(TypedDict):
    """One chat message, as chat templates take it."""

    role: str
    content: str


@dataclass(frozen=True)
class Example:
    """One training example: `token_ids` and `labels`, both of length n; prompt positions are IGNORED."""

    token_ids: list[int]
    labels: list[int]


@lru_cache(maxsize=8)
def _special_tokens(tokens: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)))


def defuse(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Break up special tokens written out in `text`, so that it cannot end its message or open another."""
    special = tuple(str(t) for t in tokenizer.added_tokens_decoder.values() if t.special)
    if not special:
        return text
    return _special_tokens(special).sub(lambda match: match[0][0] + _BREAK + match[0][1:], text)


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any], *, opener: bool) -> str:
    safe = [{"role": m["role"], "content": defuse(tokenizer, m["content"])} for m in messages]
    text = tokenizer.apply_chat_template(safe, tokenize=False, add_generation_prompt=opener)
    assert isinstance(text, str)
    return text


def prompt_token_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any]) -> list[int]:
    """Token ids of `messages` with the opener of the assistant's turn at the end."""
    text = _render(tokenizer, messages, opener=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def training_example(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any]) -> Example:
    """Token ids and labels of `messages`, whose last one is the assistant's; loss on that answer only.

    The prompt part is tokenised exactly as `prompt_token_ids` does it, so the model is trained on the
    very prefix that it will be served with; the answer ends with the token that ends a turn.
    """
    prompt_text = _render(tokenizer, messages[:-1], opener=True)
    whole_text = _render(tokenizer, messages, opener=False)
    answer_text = (
        whole_text[len(prompt_text) :]
        if whole_text.startswith(prompt_text)
        else defuse(tokenizer, messages[-1]["content"]) + str(tokenizer.eos_token)
    )
    eos = str(tokenizer.eos_token)
    if eos in answer_text:  # what the template writes after the end of the turn is never generated
        answer_text = answer_text[: answer_text.index(eos) + len(eos)]
    prompt = list(tokenizer(prompt_text, add_special_tokens=False)["input_ids"])
    answer = list(tokenizer(answer_text, add_special_tokens=False)["input_ids"])
    return Example(prompt + answer, [IGNORED] * len(prompt) + answer)
