"""The answering engine: many requests, many adapters, one base model, one step at a time.

Synchronous and without a tokenizer: it knows token ids only. One thread calls `Engine.step()`, which moves
every running request on by a token; `bot.answering.local` bridges to asyncio and to text.

The modules, lowest first: `memory`, `lora` (reads PEFT folders), `active` (stacks the adapters of a step),
`cache` (slots for keys and values), `prefix_cache`, `batch` (what one step computes, and attention over it),
`weights` and `decoder` (our own forward for Llama-like models), `graphs` (that forward as CUDA graphs),
`through_module` (any other model, by its own modules), `model` (picks between the two), `sampling`, `queue`
(which request runs next), `engine`, `worker` (the thread), `text` (tokens to whole characters).
"""
