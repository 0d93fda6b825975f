"""Plain batched greedy generation for examinations, with or without an adapter on the model.

Knows nothing of who asks or how answers are judged. Greedy, so that the same model says the same again, and
base and adapters are compared under equal conditions. Serving has an engine of its own in `bot.answering`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from training.base_model import BaseModel
from training.chat_format import ChatMessage, prompt_token_ids

BATCH: Final = {"cpu": 16, "mps": 16, "cuda": 64}
"""Answers generated at the same time, by device."""


def answers(
    base: BaseModel,
    prompts: Sequence[Sequence[ChatMessage]],
    *,
    max_new_tokens: int = 200,
    repetition_penalty: float = 1.1,
    on_progress: Callable[[int], None] = lambda finished: None,
) -> list[str]:
    """The likeliest answer to each prompt (messages, the last one the user's), in their order.

    `base.model` may carry an adapter. Answers end where the model ends its turn, or after `max_new_tokens`.
    `repetition_penalty` above 1 makes tokens of prompt and answer less likely (Keskar et al. 2019).
    `on_progress` hears at every token how many answers are finished; what it raises stops the generation.
    """
    token_ids = [prompt_token_ids(base.tokenizer, prompt) for prompt in prompts]
    # prompts of a length together: little padding, and the longest wait for nobody
    order = sorted(range(len(prompts)), key=lambda index: len(token_ids[index]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), BATCH[base.device]):
        batch = order[start : start + BATCH[base.device]]
        heard = _Heard(on_progress, start)
        generated = _generate(
            base, [token_ids[index] for index in batch], max_new_tokens, repetition_penalty, heard
        )
        for index, answer in zip(batch, generated, strict=True):
            texts[index] = base.tokenizer.decode(answer, skip_special_tokens=True).strip()
    on_progress(len(prompts))
    return texts


def _generate(
    base: BaseModel, prompts: list[list[int]], max_new_tokens: int, repetition_penalty: float, heard: _Heard
) -> list[list[int]]:
    """The tokens of each answer, up to the one that ends it."""
    ends = _ends(base)
    longest = max(map(len, prompts))
    # padded with a token that the prompt has anyway, so that the penalty counts the same with and without
    padded = torch.tensor([[prompt[0]] * (longest - len(prompt)) + prompt for prompt in prompts])
    real = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        said: Tensor = base.model.generate(
            input_ids=padded.to(base.model.device),
            attention_mask=real.to(base.model.device),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max_new_tokens,
                repetition_penalty=repetition_penalty,
                eos_token_id=ends,
                pad_token_id=ends[0],
            ),
            stopping_criteria=StoppingCriteriaList([heard]),
        )
    return [_until_end(answer, ends) for answer in said[:, longest:].tolist()]


class _Heard(StoppingCriteria):  # type: ignore[misc]
    """Tells at every token how many answers were finished before this batch; ends nothing by itself."""

    def __init__(self, on_progress: Callable[[int], None], finished: int) -> None:
        self.on_progress = on_progress
        self.finished = finished

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        self.on_progress(self.finished)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def _ends(base: BaseModel) -> list[int]:
    """The tokens that end an answer: the tokenizer's own, and those that the model was published with."""
    configured = getattr(base.model.generation_config, "eos_token_id", None)
    published = configured if isinstance(configured, list) else [configured]
    return list(dict.fromkeys(end for end in (base.tokenizer.eos_token_id, *published) if end is not None))


def _until_end(answer: list[int], ends: list[int]) -> list[int]:
    first = next((index for index, token in enumerate(answer) if token in ends), len(answer))
    return answer[:first]
