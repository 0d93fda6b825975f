"""A tiny random-weight Llama with its own tokenizer and a ChatML template: seconds, not minutes.

It speaks the same files and interfaces as a real model (2 layers, hidden size 64, about 100,000 weights) and
says nothing sensible. Its byte-level tokenizer can write any text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

HIDDEN: Final = 64
LAYERS: Final = 2
CONTEXT: Final = 512

CHATML: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_TEXTS: Final = (
    "What is LoRA? LoRA is a way to fine-tune a large model cheaply: the original weights stay frozen.",
    "Czym jest LoRA? LoRA to tani sposób dostrajania dużego modelu: oryginalne wagi pozostają zamrożone.",
    "You are a helpful assistant of this community. Say what you do not know. system user assistant",
)


def write_tiny_model(folder: Path, *, chat_template: bool = True, seed: int = 0) -> Path:
    """Write the model into `folder` as `save_pretrained` does; the same seed, the same weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>"
    )
    if chat_template:
        tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=core.get_vocab_size(),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return folder
