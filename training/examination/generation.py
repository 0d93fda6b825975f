"""Plain batched greedy generation for examinations, with or without an adapter on the model.

Knows nothing of who asks or how answers are judged. Greedy, so that the same model says the same again, and
base and adapters are compared under equal conditions. Serving has an engine of its own in `bot.answering`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from training.model import notes
from training.model.base_model import BaseModel
from training.model.chat_format import ChatMessage, opens_reasoning, prompt_token_ids
from training.model.reasoning import separated

BATCH_TOKENS: Final = 16_384
"""Tokens of prompts, padding and answers in memory at once; a step costs many little more than one."""
AT_ONCE: Final = 16
"""Tokens after which answers that have ended leave the batch; on a CPU they cost as much as the others."""


def answers(
    base: BaseModel,
    prompts: Sequence[Sequence[ChatMessage]],
    *,
    max_new_tokens: int = 200,
    repetition_penalty: float = 1.0,
    on_progress: Callable[[int], None] = lambda finished: None,
) -> list[str]:
    """The likeliest answer to each prompt (messages, the last one the user's), in their order.

    `base.model` may carry an adapter. Answers end where the model ends its turn, or after `max_new_tokens`.
    What the model thinks before it answers is left out.
    `repetition_penalty` above 1 makes tokens of prompt and answer less likely (Keskar et al. 2019).
    `on_progress` hears at every token how many answers are finished; what it raises stops the generation.
    """
    token_ids = [prompt_token_ids(base.tokenizer, prompt) for prompt in prompts]
    texts = [""] * len(prompts)
    opened = opens_reasoning(base.tokenizer)
    finished = 0
    for batch in _batches(token_ids, max_new_tokens):
        watch = _Watch(_ends(base), finished, on_progress)
        generated = _generate(
            base, [token_ids[index] for index in batch], max_new_tokens, repetition_penalty, watch
        )
        for index, answer in zip(batch, generated, strict=True):
            said = base.tokenizer.decode(answer, skip_special_tokens=True)
            said = min((said.partition(mark)[0] for mark in notes.MARKS), key=len).strip()  # as it is served
            cut_off = len(answer) == max_new_tokens
            texts[index] = separated(said, opened=opened, cut_off=cut_off).answer
        finished += len(batch)
        on_progress(finished)
    return texts


def _batches(token_ids: Sequence[Sequence[int]], max_new_tokens: int) -> Iterator[list[int]]:
    """The prompts' indices in batches, those of like length together: little is padded then."""
    batch: list[int] = []
    for index in sorted(range(len(token_ids)), key=lambda index: len(token_ids[index])):
        if batch and (len(batch) + 1) * (len(token_ids[index]) + max_new_tokens) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _generate(
    base: BaseModel, prompts: list[list[int]], max_new_tokens: int, repetition_penalty: float, watch: _Watch
) -> list[list[int]]:
    """The tokens of each answer, without the one that ends it and what comes after.

    After every `AT_ONCE` tokens the answers that have ended leave the batch: the others go on from the cache.
    Of a model that keeps more than keys and values they stay, since its cache does not let them go.
    """
    at_once = AT_ONCE if _lets_answers_go(base) else max_new_tokens
    longest = max(map(len, prompts))
    # padded with a token that the prompt has anyway, so that the penalty counts the same with and without
    said = torch.tensor([[prompt[0]] * (longest - len(prompt)) + prompt for prompt in prompts])
    real = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    said, real = said.to(base.model.device), real.to(base.model.device)
    cache: Cache | None = None
    going_on = [*range(len(prompts))]
    answers: list[list[int]] = [[] for _ in prompts]
    while going_on:
        left = longest + max_new_tokens - said.shape[1]
        with torch.inference_mode():
            generated = base.model.generate(
                input_ids=said,
                attention_mask=real,
                past_key_values=cache,
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=min(at_once, left),
                    repetition_penalty=repetition_penalty,
                    eos_token_id=watch.ends,
                    pad_token_id=watch.ends[0],
                    return_dict_in_generate=True,
                ),
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        said, cache = generated.sequences, generated.past_key_values
        new = said[:, longest:].tolist()
        for index, tokens in zip(going_on, new, strict=True):
            answers[index] = _until_end(tokens, watch.ends)
        rest = [row for row, tokens in enumerate(new) if len(answers[going_on[row]]) == len(tokens)]
        if left <= at_once:
            break
        going_on = [going_on[row] for row in rest]
        watch.ended_before(len(prompts) - len(going_on))
        kept = torch.tensor(rest, dtype=torch.long, device=said.device)
        said = said[kept]
        real = torch.nn.functional.pad(real[kept], (0, said.shape[1] - real.shape[1]), value=1)
        cache.batch_select_indices(kept)
    return answers


def _lets_answers_go(base: BaseModel) -> bool:
    """Whether the model's cache holds keys and values alone, not also the state of a recurrence."""
    layers = DynamicCache(config=base.model.config).layers
    return not any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in layers)


class _Watch(StoppingCriteria):  # type: ignore[misc]
    """Tells at every token how many answers are finished, `before` this batch and in it; ends none itself."""

    def __init__(self, ends: list[int], before: int, on_progress: Callable[[int], None]) -> None:
        self.ends = ends
        self._before = before
        self._left = 0
        self._on_progress = on_progress
        self._ended: Tensor | None = None

    def ended_before(self, answers: int) -> None:
        """So many answers of the batch have ended and left it; those that follow are the others."""
        self._left, self._ended = answers, None

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        ending = torch.isin(input_ids[:, -1], torch.tensor(self.ends, device=input_ids.device))
        self._ended = ending if self._ended is None else self._ended | ending
        self._on_progress(self._before + self._left + int(self._ended.sum()))
        return torch.zeros_like(ending)


def _ends(base: BaseModel) -> list[int]:
    """The tokens that end an answer: the tokenizer's own, and those that the model was published with."""
    configured = getattr(base.model.generation_config, "eos_token_id", None)
    published = configured if isinstance(configured, list) else [configured]
    return list(dict.fromkeys(end for end in (base.tokenizer.eos_token_id, *published) if end is not None))


def _until_end(answer: list[int], ends: list[int]) -> list[int]:
    first = next((index for index, token in enumerate(answer) if token in ends), len(answer))
    return answer[:first]
