#!/usr/bin/env bash
# Guess: batch_select_indices, which lets finished rows leave a batch while the others go on from the cache, works for
# every model that generates with a DynamicCache; reorder_cache and crop, its neighbours, know recurrent layers.
# Seen with transformers 5.23.0 and torch 2.13.0, tiny random models, three rows of which one is kept: LFM2, whose layers
# are convolutions or attention, has an AttributeError. Falcon H1, each of whose layers is attention and recurrence side by
# side, has none: the method is attention's, so keys and values are those of the row that was kept, and the states of the
# recurrence those of all three. Whoever shrinks a batch must look at what the cache's layers are.
# Output seen: lfm2: AttributeError; falcon_h1: 1 row of keys, 3 of states
# Source: transformers/cache_utils.py (DynamicLayer.batch_select_indices, LinearAttentionAndFullAttentionLayer).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "transformers==5.23.0"

cat > "$folder/shrink.py" <<'PYTHON'
import torch
from transformers import FalconH1Config, FalconH1ForCausalLM, Lfm2Config, Lfm2ForCausalLM

heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, **heads}
state = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}
models = (
    Lfm2ForCausalLM(Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"], **shape)),
    FalconH1ForCausalLM(FalconH1Config(num_hidden_layers=1, **state, **shape)),
)
said = []
for model in models:
    with torch.inference_mode():
        cache = model(torch.ones(3, 4, dtype=torch.long), use_cache=True).past_key_values
    try:
        cache.batch_select_indices(torch.tensor([0]))
        layer = cache.layers[0]
        found = f"{len(layer.keys)} row of keys, {len(layer.conv_states[0])} of states"
    except AttributeError as error:
        found = type(error).__name__
    said.append(f"{model.config.model_type}: {found}")
print("; ".join(said))
PYTHON

said=$(HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/shrink.py" 2>/dev/null)
[ "$said" = "lfm2: AttributeError; falcon_h1: 1 row of keys, 3 of states" ] || { echo "selecting a row gave: $said" >&2; exit 1; }
echo "transformers 5.23.0 takes one of three answers out of a hybrid model's cache: $said"
