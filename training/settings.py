"""What training can be told; composed into the whole by `bot.settings`.

Numbers left at 0 (or an empty text) are chosen by `training.lora.plan` from the number of pairs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Quantisation = Literal["none", "8bit", "4bit"]


class TrainingSettings(BaseModel):
    """How an adapter is trained and judged."""

    model_config = ConfigDict(extra="forbid")

    adapter_name: str = Field(
        default="community",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        description="Name of the adapter that a retrain makes a new version of.",
    )
    min_pairs: int = Field(
        default=8,
        ge=4,
        description="Fewest approved pairs that a run starts with; "
        "below about 8 there is nothing to generalise from.",
    )
    min_new_pairs: int = Field(
        default=20,
        ge=1,
        description="Newly approved pairs that make the scheduled retrain worth its electricity.",
    )
    quantisation: Quantisation = Field(
        default="none",
        description="Precision of the frozen base model while training: none (16 or 32 bits), 8bit, "
        "or 4bit (NF4, QLoRA; the smallest memory).",
    )
    rank: int = Field(
        default=16, ge=1, le=512, description="LoRA rank r: the adapter's capacity and its size."
    )
    alpha: int = Field(
        default=32,
        ge=1,
        description="LoRA alpha: the update is scaled by alpha / r. Twice the rank by default.",
    )
    dropout: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Share of LoRA inputs dropped while training, against overfitting. Off by default: "
        "early stopping sees to that, and dropping costs a tenth of the time on a CPU.",
    )
    target_modules: str = Field(
        default="all-linear",
        description="Layers that get an adapter: all-linear, "
        "or module names separated by commas (q_proj,v_proj).",
    )
    epochs: float = Field(
        default=0, ge=0, le=100, description="Passes over the pairs; 0 chooses by their number (3 to 8)."
    )
    learning_rate: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Peak learning rate; 0 chooses by the number of pairs and the model's hidden size "
        "(2e-3 to 5e-3 for few pairs and the default model, lower for many pairs and for larger models).",
    )
    batch_size: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Pairs per optimiser step; 0 chooses by the number of pairs (4 to 32).",
    )
    max_tokens: int = Field(
        default=1024,
        ge=64,
        description="Longest pair, in tokens of prompt and answer; longer ones are left out, and counted.",
    )
    validation_share: float = Field(
        default=0.1,
        gt=0,
        lt=0.5,
        description="Share of pairs that early stopping watches and training never sees.",
    )
    examination_questions: int = Field(
        default=50,
        ge=4,
        le=1000,
        description="Most held-out questions that base, current and candidate answer.",
    )
    patience: int = Field(
        default=2, ge=1, description="Validations without improvement after which training stops early."
    )
    seed: int = Field(default=17, ge=0, description="Seed of splits, initialisation and order.")
    niceness: int = Field(
        default=10,
        ge=0,
        le=19,
        description="How far the training process steps back for the answering one (Unix nice).",
    )
