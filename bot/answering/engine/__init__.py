"""The answering engine: many requests, many adapters, one base model, one step at a time.

Synchronous and without a tokenizer: it knows token ids only. One thread calls `Engine.step()`, which moves
every running request on by a token; `bot.answering.local` bridges to asyncio and to text.

The modules, lowest first: `memory`, `lora` (reads PEFT folders), `active` (stacks the adapters of a step),
`cache` (slots for keys and values), `prefix_cache`, `batch` (what one step computes, and attention over it),
`weights` and `decoder` (our own forward for Llama-like models), `graphs` (that forward as CUDA graphs),
`through_module` (any other model, by its own modules), `model` (picks between the two), `sampling`, `queue`
(which request runs next), `engine`, `worker` (the thread), `text` (tokens to whole characters).

Shapes are written as (T, C), in these letters:

    T  tokens of the step, one row each         t  those of one group of rows
    N  rows whose logits are wanted             V  vocabulary
    C  hidden size                              F  inner size of the MLP
    H  query heads                              K  key/value heads, G = H / K
    D  head size                                L  layers
    S  slots of a slab                          P  positions of a slot
    B  requests attended in one call            W  rows of each of them, padded
    E  positions that the rows attend to
    I  inputs of a linear layer                 O  its outputs
    R  LoRA ranks of all adapters stacked at a site
"""
