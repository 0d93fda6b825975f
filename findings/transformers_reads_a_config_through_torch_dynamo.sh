#!/usr/bin/env bash
# Guess: AutoConfig.from_pretrained on a local folder parses one small JSON file; torch.compile and its tracer come in
# when something is compiled, so a service that never compiles never pays for them.
# Seen with transformers 5.23.0 and torch 2.13.0: `import torch` and `from transformers import AutoConfig` leave
# torch._dynamo and sympy out; reading a Llama config of four numbers brings both in, and some 70 MiB with them, for as
# long as the process lives. The way there: configuration -> generation -> generation/continuous_batching/cache.py, whose
# PagedAttentionCache carries @torch.compiler.disable, and that decorator imports torch._dynamo when the class is defined.
# A process that is to stay small reads config.json itself.
# Output seen: neither -> torch._dynamo sympy
# Source: transformers/generation/continuous_batching/cache.py (PagedAttentionCache), torch/compiler/__init__.py (disable).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "transformers==5.23.0"

mkdir "$folder/model"
cat > "$folder/model/config.json" <<'JSON'
{"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2}
JSON
cat > "$folder/read.py" <<'PYTHON'
import sys

import torch
from transformers import AutoConfig


def loaded() -> str:
    return " ".join(name for name in ("torch._dynamo", "sympy") if name in sys.modules) or "neither"


before = loaded()
AutoConfig.from_pretrained(sys.argv[1])
print(f"{before} -> {loaded()}")
PYTHON

said=$(HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/read.py" "$folder/model" 2>/dev/null)
[ "$said" = "neither -> torch._dynamo sympy" ] || { echo "reading a config loaded: $said" >&2; exit 1; }
echo "reading a config.json with transformers 5.23.0 loads torch._dynamo and sympy: $said"
