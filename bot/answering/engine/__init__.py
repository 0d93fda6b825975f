"""The answering engine: many answers, many adapters, one base model, one step at a time.

Synchronous and without a tokenizer: it knows token ids only. One thread calls `Engine.step()`, which moves
every answer on by a token; `bot.answering.local` bridges to asyncio and to text.

The modules, lowest first: `lora` (PEFT folders to tensors), `active` (the adapters of a step side by side),
`cache` (keys and values), `prefixes` (keys and values that prompts share), `batch` (what one step computes,
and attention over it), `weights` and `decoder` (our own forward for Llama-like models), `through_module`
(any other model, by its own modules), `model` (picks between the two), `sampling`, `queue`, `engine`,
`worker` (the thread), `text` (tokens to whole characters).
"""
