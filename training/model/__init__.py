"""The base model: found, loaded, quantised; its chat format; a LoRA attached; its fingerprint."""
