"""Messages to token ids by the model's own chat template; training and serving share this one file.

Leaves to others: what the messages say, and batching. A message's content can never pass for the
template's own: special tokens written out in it are escaped before the template sees them. What a strict
template refuses (Mistral's, Gemma's) is arranged as it takes it: see `arrangements`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from training.errors import ConversationRefused
from training.model.reasoning import is_opened_by
from training.settings import Thinking

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
def _any_of(tokens: tuple[str, ...]) -> str:
    return "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> str:
    """A pattern for the tokens that structure a conversation; it matches nothing when there are none."""
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return _any_of(tuple(sorted(special | set(tokenizer.all_special_tokens)))) or r"(?!)"


def escape_special_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Break up special tokens written out in `text`, so that it cannot end its message or begin another."""
    # looking ahead finds a token that begins inside another one as well
    start_of_one = re.compile(f"(?={_special_tokens(tokenizer)}).", re.DOTALL)
    return start_of_one.sub(lambda match: match[0] + _BREAK, text)


def arrangements(messages: Sequence[Any]) -> Iterator[list[ChatMessage]]:
    """`messages` as given, then as stricter chat templates take them, each way once.

    First neighbours of one role are merged behind a single system text; then that text stands before the
    first question instead, for templates that have no system role. Merged texts are a blank line apart.
    """
    given: list[ChatMessage] = [{"role": m["role"], "content": m["content"]} for m in messages]
    yield given
    system = "\n\n".join(m["content"] for m in given if m["role"] == "system")
    talk: list[ChatMessage] = []
    for message in given:
        if message["role"] == "system":
            continue
        if talk and talk[-1]["role"] == message["role"]:
            talk[-1]["content"] += f"\n\n{message['content']}"
        else:
            talk.append({**message})
    merged: list[ChatMessage] = [{"role": "system", "content": system}, *talk] if system else talk
    if merged != given:
        yield merged
    question = next((place for place, message in enumerate(talk) if message["role"] == "user"), None)
    if system and question is not None:
        folded = [*talk]
        folded[question] = {"role": "user", "content": f"{system}\n\n{talk[question]['content']}"}
        yield folded


def accepted(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any]) -> list[ChatMessage]:
    """The first arrangement of `messages`, special tokens escaped, that the model's template takes.

    Raises ConversationRefused when it takes none.
    """
    return _rendered(tokenizer, messages)[0]


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any]) -> tuple[list[ChatMessage], str]:
    """The arrangement that the template takes, and its text ended by the generation prompt."""
    safe = [{"role": m["role"], "content": escape_special_tokens(tokenizer, m["content"])} for m in messages]
    refusal: TemplateError | None = None
    for arranged in arrangements(safe):
        try:
            return arranged, _render(tokenizer, arranged, add_generation_prompt=True)
        except TemplateError as error:
            refusal = error
    assert refusal is not None, "there is always one arrangement"
    raise ConversationRefused(str(refusal)) from refusal


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], *, add_generation_prompt: bool
) -> str:
    """The messages as text by the chat template, as they are. Raises jinja2's TemplateError."""
    text = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
    )
    assert isinstance(text, str)
    return text


def prompt_token_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any]) -> list[int]:
    """Token ids of `messages`, ended by the generation prompt that opens the assistant's turn.

    Raises ConversationRefused when the model's template takes them in no arrangement.
    """
    _, text = _rendered(tokenizer, messages)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def opens_reasoning(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether prompts end inside a reasoning block that the template opens (DeepSeek-R1's does)."""
    return is_opened_by(_rendered(tokenizer, [{"role": "user", "content": "?"}])[1])


def set_thinking(tokenizer: PreTrainedTokenizerBase, thinking: Thinking) -> None:
    """Tell the tokenizer's template whether the model shall reason, as templates such as Qwen3's ask.

    It becomes part of the template, so that training and serving cannot differ in it.
    """
    if thinking == "template":
        return
    switch = f"{{%- set enable_thinking = {'true' if thinking == 'on' else 'false'} %}}"
    templates = tokenizer.chat_template
    if isinstance(templates, dict):
        tokenizer.chat_template = {name: switch + template for name, template in templates.items()}
    else:
        tokenizer.chat_template = switch + templates


def training_example(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any]) -> Example:
    """Token ids and labels of `messages`, whose last one is the assistant's; loss on that answer only.

    The prompt part is tokenised exactly as `prompt_token_ids` does it, so the model is trained on the
    very prefix that it will be served with; the answer ends with the token that ends a turn.
    Raises ConversationRefused when the model's template takes the prompt in no arrangement.
    """
    prompt_messages, prompt_text = _rendered(tokenizer, messages[:-1])
    answer_words = escape_special_tokens(tokenizer, messages[-1]["content"])
    # behind the prompt as it was arranged, or the answer would not begin where the prompt ends
    answered: ChatMessage = {"role": messages[-1]["role"], "content": answer_words}
    whole_text = _render(tokenizer, [*prompt_messages, answered], add_generation_prompt=False)
    answer_text = whole_text[len(prompt_text) :] if whole_text.startswith(prompt_text) else answer_words
    # the token after the words ends the turn (in Gemma and Phi it is not the tokenizer's end token); what
    # the template writes behind that is never generated
    to_the_end = rf".*{re.escape(answer_words.strip())}\s*(?:{_special_tokens(tokenizer)})"
    ended = re.match(to_the_end, answer_text, re.DOTALL)
    eos = str(tokenizer.eos_token)
    answer_text = ended[0] if ended else answer_text.partition(eos)[0] + eos
    prompt = list(tokenizer(prompt_text, add_special_tokens=False)["input_ids"])
    answer = list(tokenizer(answer_text, add_special_tokens=False)["input_ids"])
    return Example(prompt + answer, [IGNORED] * len(prompt) + answer)
