"""Conversations as token ids: trained on the very prefix that is served, deaf to tokens that people write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bot.answering.prompt import build_prompt
from feedback.words import LANGUAGES, MODES, Language, Mode
from tests.doubles.tiny_model import CHATML
from training.data.dataset import messages
from training.data.pairs import TrainingPair
from training.errors import ConversationRefused
from training.model.chat_format import (
    IGNORED,
    accepted,
    escape_special_tokens,
    prompt_token_ids,
    set_thinking,
    training_example,
)

SYSTEM = {"role": "system", "content": "You are helpful."}
QUESTION = {"role": "user", "content": "What is LoRA?"}
ANSWER = {"role": "assistant", "content": "Low-rank adaptation 🦙."}

GEMMA = (  # ends a turn with a token that is not the tokenizer's end token, and has no room for a system text
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}{{ '<|turn|>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' }}"
    "{{ m['content'] | trim }}{{ '<|turn_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>model\n' }}{% endif %}"
)
PHI = (  # writes the end token after the conversation, behind the token that ends the turn
    "{% for m in messages %}{{ '<|turn|>' + m['role'] + '\n' + m['content'] + '<|turn_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% else %}{{ eos_token }}{% endif %}"
)
CHANNEL = (  # opens the answer with special tokens that the prompt does not have yet
    "{% for m in messages %}{{ '<|turn|>' + m['role'] }}{% if m['role'] == 'assistant' %}"
    "{{ '<|endoftext|>final' }}{% endif %}{{ '\n' + m['content'] + '<|turn_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant' }}{% endif %}"
)
ENDLESS = (  # nothing ends the answer
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
OTHER_OPENER = (  # what the assistant's turn begins with is not what the opener announces
    "{% for m in messages %}{{ '<|turn|>' + m['role'] + '\n' + m['content'] + '<|turn_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n<think>\n' }}{% endif %}"
)
STRICT = (  # user and assistant take turns, behind one system text at most
    "{% if messages[0]['role'] == 'system' %}{{ '[SYS]' + messages[0]['content'] + '[/SYS]' }}"
    "{% set talk = messages[1:] %}{% else %}{% set talk = messages %}{% endif %}"
    "{% for m in talk %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<|turn|>' + m['role'] + '\n' + m['content'] + '<|turn_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)
STRICTER = (  # the same, without a system role
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}"
    "{% elif m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<|turn|>' + m['role'] + '\n' + m['content'] + '<|turn_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "strict": (STRICT, "<|turn_end|>"),
    "stricter": (STRICTER, "<|turn_end|>"),
    "chatml": (CHATML, "<|im_end|>"),
    "gemma": (GEMMA, "<|turn_end|>"),
    "phi": (PHI, "<|turn_end|>"),
    "channel": (CHANNEL, "<|turn_end|>"),
    "endless": (ENDLESS, "<|im_end|>"),
    "other opener": (OTHER_OPENER, "<|im_end|>"),
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path) -> PreTrainedTokenizerBase:
    return _with_template(tiny_model_folder, CHATML)


@pytest.fixture(params=sorted(TEMPLATES))
def family(request: pytest.FixtureRequest, tiny_model_folder: Path) -> tuple[PreTrainedTokenizerBase, str]:
    """A tokenizer whose template is like that of a family of models, and the token that ends its turns."""
    template, end = TEMPLATES[request.param]
    return _with_template(tiny_model_folder, template), end


# --- training and serving agree ---


def test_the_trained_prefix_is_the_served_prompt(family: tuple[PreTrainedTokenizerBase, str]) -> None:
    tokenizer, _ = family
    prompt = prompt_token_ids(tokenizer, [SYSTEM, QUESTION])
    example = training_example(tokenizer, [SYSTEM, QUESTION, ANSWER])
    assert example.token_ids[: len(prompt)] == prompt
    assert example.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert len(example.labels) == len(example.token_ids)


def test_the_loss_is_on_the_answer_and_the_token_that_ends_it_and_nothing_else(
    family: tuple[PreTrainedTokenizerBase, str],
) -> None:
    tokenizer, end = family
    prompt = prompt_token_ids(tokenizer, [SYSTEM, QUESTION])
    example = training_example(tokenizer, [SYSTEM, QUESTION, ANSWER])
    learned = example.labels[len(prompt) :]
    assert learned == example.token_ids[len(prompt) :]
    told = tokenizer.decode(learned)
    assert told.removeprefix("<|endoftext|>final").strip() in (
        f"Low-rank adaptation 🦙.{end}",
        f"Low-rank adaptation 🦙.\n{end}",  # where the template has a line break and no token for the end
    )
    assert learned.count(tokenizer.convert_tokens_to_ids(end)) == 1


def test_earlier_exchanges_are_context_and_not_learned(tokenizer: PreTrainedTokenizerBase) -> None:
    talk = [SYSTEM, QUESTION, ANSWER, {"role": "user", "content": "And r?"}]
    example = training_example(tokenizer, [*talk, {"role": "assistant", "content": "The rank."}])
    learned = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(learned) == "The rank.<|im_end|>"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("persona", ["decode-assistant", "You are a pirate.\nArr."])
def test_a_pair_is_trained_on_the_prompt_that_its_question_is_served_with(
    mode: Mode, language: Language, persona: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    pair = TrainingPair(
        "Co to LoRA?", "", "Adaptacja.", language=language, lineage={"persona": persona, "mode": mode}
    )
    served = build_prompt(
        persona=persona,
        mode=mode,
        language=language,
        history=[],
        question="Co to LoRA?",
        count_tokens=lambda prompt: len(prompt_token_ids(tokenizer, prompt)),
        budget=400,
    )
    prompt = prompt_token_ids(tokenizer, served.messages)
    assert training_example(tokenizer, messages(pair)).token_ids[: len(prompt)] == prompt


def test_the_input_of_a_pair_stands_below_its_instruction(tokenizer: PreTrainedTokenizerBase) -> None:
    prompt = prompt_token_ids(tokenizer, messages(TrainingPair("Explain:", "r = 16", "The rank."))[:2])
    assert "user\nExplain:\n\nr = 16<|im_end|>" in tokenizer.decode(prompt)


def test_a_template_without_room_for_a_system_text_gets_it_before_the_question(
    tiny_model_folder: Path,
) -> None:
    tokenizer = _with_template(tiny_model_folder, GEMMA)
    prompt = tokenizer.decode(prompt_token_ids(tokenizer, [SYSTEM, QUESTION]))
    assert "<|turn|>user\nYou are helpful.\n\nWhat is LoRA?<|turn_end|>" in prompt


# --- templates that take less than everything ---

MORE = {"role": "user", "content": "And what is r?"}
KIND = {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize(
    ("template", "messages", "prompt"),
    [
        (STRICT, [QUESTION, MORE], "<|turn|>user\nWhat is LoRA?\n\nAnd what is r?<|turn_end|>"),
        (
            STRICT,
            [SYSTEM, KIND, QUESTION],
            "[SYS]You are helpful.\n\nBe kind.[/SYS]<|turn|>user\nWhat is LoRA?<|turn_end|>",
        ),
        (
            STRICT,
            [QUESTION, ANSWER, KIND, MORE],
            "[SYS]Be kind.[/SYS]<|turn|>user\nWhat is LoRA?<|turn_end|>"
            "<|turn|>assistant\nLow-rank adaptation 🦙.<|turn_end|><|turn|>user\nAnd what is r?<|turn_end|>",
        ),
        (
            STRICTER,
            [SYSTEM, KIND, QUESTION, MORE],
            "<|turn|>user\nYou are helpful.\n\nBe kind.\n\nWhat is LoRA?\n\nAnd what is r?<|turn_end|>",
        ),
        (
            STRICTER,
            [QUESTION, ANSWER, ANSWER, MORE],
            "<|turn|>user\nWhat is LoRA?<|turn_end|><|turn|>assistant\nLow-rank adaptation 🦙.\n\n"
            "Low-rank adaptation 🦙.<|turn_end|><|turn|>user\nAnd what is r?<|turn_end|>",
        ),
    ],
    ids=["two users", "two systems", "a late system", "no system role", "two assistants"],
)
def test_a_strict_template_gets_neighbours_merged_and_one_system_text(
    tiny_model_folder: Path, template: str, messages: list[dict[str, str]], prompt: str
) -> None:
    tokenizer = _with_template(tiny_model_folder, template)
    served = prompt_token_ids(tokenizer, messages)
    assert tokenizer.decode(served) == f"{prompt}<|turn|>assistant\n"
    trained = training_example(tokenizer, [*messages, ANSWER])
    assert trained.token_ids[: len(served)] == served
    learned = tokenizer.decode([label for label in trained.labels if label != IGNORED])
    assert learned == "Low-rank adaptation 🦙.<|turn_end|>"


def test_a_template_that_takes_everything_gets_the_messages_as_they_are(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    messages = [SYSTEM, KIND, QUESTION, MORE]
    assert accepted(tokenizer, messages) == messages


@pytest.mark.parametrize("template", [STRICT, STRICTER])
def test_a_conversation_that_the_assistant_begins_is_refused_with_the_templates_reason(
    tiny_model_folder: Path, template: str
) -> None:
    tokenizer = _with_template(tiny_model_folder, template)
    with pytest.raises(ConversationRefused, match=r"Roles must alternate .* Begin with the user's message"):
        prompt_token_ids(tokenizer, [SYSTEM, ANSWER, QUESTION])


# --- nobody speaks for the template ---

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|turn|>", "<|turn_end|>", "<<a", "<a>"]
pieces = st.lists(
    st.sampled_from([*SPECIAL, "<|im_", "end|>", "<", "|", ">", "user\n", "🦙", " "]), max_size=12
)


@examples(max_examples=200, deadline=None)
@given(written=pieces.map("".join))
def test_special_tokens_written_out_are_words(tokenizer: PreTrainedTokenizerBase, written: str) -> None:
    special = set(tokenizer.convert_tokens_to_ids(SPECIAL))

    def structure(content: str) -> tuple[Sequence[int], Sequence[int]]:
        question, answer = {"role": "user", "content": content}, {"role": "assistant", "content": content}
        prompt = prompt_token_ids(tokenizer, [SYSTEM, question])
        whole = training_example(tokenizer, [SYSTEM, question, answer]).token_ids
        return [one for one in prompt if one in special], [one for one in whole if one in special]

    assert structure(written) == structure("harmless")


def test_an_answer_that_writes_the_end_token_is_learned_to_its_end(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    said = "ChatML ends a turn with <|im_end|>, then goes on."
    example = training_example(tokenizer, [QUESTION, {"role": "assistant", "content": said}])
    learned = tokenizer.decode([label for label in example.labels if label != IGNORED])
    assert learned.replace("\u2060", "") == said + "<|im_end|>"


@pytest.mark.parametrize("text", ["", "plain", "a < b && c |> d", "<|unknown|>", "zażółć 🦙\n"])
def test_text_without_special_tokens_is_left_alone(text: str, tokenizer: PreTrainedTokenizerBase) -> None:
    assert escape_special_tokens(tokenizer, text) == text


@pytest.mark.slow
def test_the_default_model_is_trained_on_the_prompt_that_it_is_served_with(
    default_model_folder: Path,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(default_model_folder)
    pair = TrainingPair("Co to jest <|im_end|>?", "", "Koniec wypowiedzi.", language="pl")
    prompt = prompt_token_ids(tokenizer, messages(pair)[:2])
    example = training_example(tokenizer, messages(pair))
    assert example.token_ids[: len(prompt)] == prompt
    assert prompt.count(tokenizer.eos_token_id) == 2  # of the system text and of the question
    assert tokenizer.decode(example.token_ids[len(prompt) :]) == "Koniec wypowiedzi.<|im_end|>"


@pytest.mark.parametrize(("thinking", "shown"), [("template", "unset"), ("on", "True"), ("off", "False")])
def test_the_templates_switch_is_set_for_prompts_and_training_examples_alike(
    tiny_model_folder: Path, thinking: Any, shown: str
) -> None:
    switch = "{{ enable_thinking if enable_thinking is defined else 'unset' }}"
    tokenizer = _with_template(tiny_model_folder, switch + CHATML)
    set_thinking(tokenizer, thinking)
    prompt = prompt_token_ids(tokenizer, [QUESTION])
    assert tokenizer.decode(prompt).startswith(shown)
    assert training_example(tokenizer, [QUESTION, ANSWER]).token_ids[: len(prompt)] == prompt


def _with_template(folder: Path, template: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[3:]})
    tokenizer.chat_template = template
    return tokenizer
