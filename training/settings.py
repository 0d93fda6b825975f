"""The settings of training and of the gate; composed into the whole by `bot.settings`.

Numbers left at 0 (or an empty text) are chosen by `training.fit.hyperparameters` and `memory_plan`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from feedback.words import Language, Mode, TaskType
from training.errors import NotTrainedHere

Quantisation = Literal["none", "8bit", "4bit"]
Thinking = Literal["template", "on", "off"]
ServingQuantisation = Literal["auto", "none", "8bit", "4bit"]
TrainingQuantisation = Literal["auto", "none", "8bit", "4bit"]
Method = Literal["auto", "sft", "dpo", "kto"]
StartFrom = Literal["fresh", "current"]
LoraVariant = Literal["lora", "rslora", "dora"]

DEFAULT_RANK: Final = 16
"""The LoRA rank where the settings leave it open; a forecast halves it where memory is short."""
LEAST_MEMORY_GIB: Final = 2
ADAPTER_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"


def _json_list(value: Any) -> Any:
    """A list as it stands in the environment, where every value is text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('write a JSON list, such as ["one","two"]') from None


HygieneRule = Literal[
    "broken-encoding",
    "control-characters",
    "placeholders",
    "markup-debris",
    "length",
    "no-answer",
    "merged-examples",
    "impossible-request",
    "injected",
    "toxic",
    "rude",
    "wrong-language",
    "personal-data",
    "style",
    "exact-duplicates",
    "near-duplicates",
    "repeated-answer",
    "contradictions",
    "dominating-member",
    "dominating-topic",
]


class HygieneSettings(BaseModel):
    """What pairs are looked through for before they go into a dataset."""

    model_config = ConfigDict(extra="forbid")

    off: str = Field(
        default="",
        description="Rules that are left out, separated by commas, by the names in docs/training.md "
        "(style,near-duplicates).",
    )
    personal_data: Literal["mask", "drop"] = Field(
        default="mask",
        description="What happens to e-mail addresses, phone numbers, keys and the like: mask writes "
        "[e-mail] in their place, drop leaves the pair out.",
    )
    shortest_question: int = Field(
        default=2, ge=1, description="Fewest characters of a question with its input."
    )
    longest_question: int = Field(
        default=8000, ge=100, description="Most characters of a question with its input."
    )
    shortest_answer: int = Field(default=1, ge=1, description="Fewest characters of an answer.")
    longest_answer: int = Field(
        default=8000,
        ge=100,
        description="Most characters of an answer; about four of them are a token.",
    )
    near_duplicate: float = Field(
        default=0.7,
        ge=0.5,
        lt=1,
        description="How much of their words two questions share to count as the same one (Jaccard); their "
        "numbers and negations must agree in any case.",
    )
    same_answer: float = Field(
        default=0.85,
        ge=0.5,
        le=1,
        description="How much of their words two answers to the same question share to count as one answer.",
    )
    contradiction: float = Field(
        default=0.03,
        ge=0,
        lt=0.5,
        description="Two answers to the very same question that share no more of their words than this "
        "contradict each other; so do a yes and a no, and other numbers or a negation in the same words.",
    )
    most_questions_of_an_answer: int = Field(
        default=6,
        ge=1,
        description="Different questions that may have nearly the same answer; an answer that more of them "
        "have, and twice as many as the median answer, is left out as spam.",
    )
    style_deviation: float = Field(
        default=6.0,
        ge=2,
        description="How many deviations (robust z-score) an answer's capitals, exclamation marks or emoji "
        "lie above those of all answers when it departs from the style.",
    )
    most_from_member: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Largest share of the pairs that one member's questions may have; 500 pairs are always "
        "allowed. 1 is no limit.",
    )
    most_on_topic: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Largest share of the pairs that one topic may have; 50 pairs are always allowed. 1 is "
        "no limit.",
    )

    @field_validator("off")
    @classmethod
    def _known_rules(cls, value: str) -> str:
        for name in filter(None, (part.strip() for part in value.split(","))):
            if name not in get_args(HygieneRule):
                raise ValueError(f"no rule is called {name!r}; there are {', '.join(get_args(HygieneRule))}")
        return value


class AdapterSettings(BaseModel):
    """One named adapter: whose pairs it learns, when, and what of `[training]` it does otherwise."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    communities: Annotated[tuple[str, ...], BeforeValidator(_json_list)] = Field(
        default=(),
        description="Communities whose pairs it learns and that it serves, as platform:id or by number "
        "(discord:123); without any, it learns from and serves all.",
    )
    languages: Annotated[tuple[Language, ...], BeforeValidator(_json_list)] = Field(
        default=(), description="Languages of the pairs that it learns (en, pl); without any, all."
    )
    task_types: Annotated[tuple[TaskType, ...], BeforeValidator(_json_list)] = Field(
        default=(), description="Task types of the pairs that it learns; without any, all."
    )
    personas: Annotated[tuple[str, ...], BeforeValidator(_json_list)] = Field(
        default=(),
        description="Personas of the communities whose pairs it learns, by name or by their own text; "
        "without any, all.",
    )
    modes: Annotated[tuple[Mode, ...], BeforeValidator(_json_list)] = Field(
        default=(), description="Modes of the answers that it learns; without any, all."
    )
    schedule: str = Field(
        default="",
        description="When it is retrained, written as schedule.retrain is; empty follows schedule.retrain.",
    )

    @model_validator(mode="after")
    def _others_are_of_training(self) -> AdapterSettings:
        """Refuse an unknown key, and a value that `[training]` would refuse, by its own name."""
        others = self.model_extra or {}
        for key in NOT_OF_ONE_ADAPTER & others.keys():
            unknown = InitErrorDetails(type="extra_forbidden", loc=(key,), input=others[key])
            raise ValidationError.from_exception_data(type(self).__name__, [unknown])
        TrainingSettings.model_validate(others)
        return self


class TrainingSettings(BaseModel):
    """How an adapter is trained and examined."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    # --- which adapters there are

    adapter_name: str = Field(
        default="community",
        pattern=ADAPTER_NAME,
        description="Name of the adapter that a retrain makes a new version of, when none is named.",
    )
    adapters: dict[str, AdapterSettings] = Field(
        default={},
        repr=False,  # what stands there by mistake may be a secret
        description="Further adapters by name, each a table [training.adapters.NAME] of its own with the "
        "settings below; a JSON object in the environment.",
    )
    keep_versions: int = Field(
        default=0,
        ge=0,
        description="Versions of each adapter's name that are kept after a promoted run, beside what serves, "
        "what a rollback would bring back and what is pinned; older files are deleted, and those "
        "of datasets that only such versions learnt. 0 keeps all.",
    )

    # --- when a run is worth it

    min_pairs: int = Field(
        default=8,
        ge=4,
        description="Fewest approved pairs that a run starts with; fewer than about 8 teach nothing general.",
    )
    min_new_pairs: int = Field(
        default=20,
        ge=1,
        description="Newly approved pairs that make the scheduled retrain worth its electricity.",
    )

    # --- what goes into a dataset

    validation_share: float = Field(
        default=0.1,
        gt=0,
        lt=0.5,
        description="Share of pairs that early stopping watches and training never sees.",
    )
    history_turns: int = Field(
        default=4,
        ge=0,
        le=100,
        description="Earlier turns of its conversation that a pair is trained with, as "
        "answering.history_turns gives them when answering; 0 trains every question by itself.",
    )
    max_tokens: int = Field(
        default=1024,
        ge=64,
        description="Longest pair, in tokens of prompt and answer; longer ones are left out, and counted.",
    )
    notes: bool = Field(
        default=True,
        description="Whether pairs are trained and examined with the passages that knowledge gives their "
        "questions, as answers are.",
    )
    noted_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the training pairs that have their passages, as the questions that the bot "
        "answers have; the others are trained without. With three passages a pair has about three times the "
        "tokens, and takes as much longer to train on. Held-out questions always have theirs.",
    )
    missing_note_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share of pairs with passages that lack the right one on purpose, so that an adapter "
        "does not take whatever stands there for the answer (RAFT's 1 - P).",
    )
    not_knowing_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Least share of the training pairs whose answer abstains, saying that it does not know: "
        "where the approved ones are fewer, packaged examples fill up. 0 (the default) adds none, so that an "
        "adapter says only what its moderators approved; 0.05 helps where a bot invents facts.",
    )
    held_burst: int = Field(
        default=100,
        ge=0,
        description="So many approvals within a minute by a reviewer who is new (first week) are quarantined "
        "until the operator says `thumbloop review trust`: nobody reads that fast. 0 turns it off.",
    )
    hygiene: HygieneSettings = Field(default_factory=HygieneSettings)

    # --- how an adapter learns

    method: Method = Field(
        default="auto",
        description="How an adapter learns: sft (supervised, from approved and edited answers), dpo (sft "
        "first unless it continues an adapter, then from answers preferred over others: Rafailov et al. "
        "2023), kto (from single thumbs: Ethayarajh et al. 2024), or auto, which chooses by what there is "
        "and says why.",
    )
    start_from: StartFrom = Field(
        default="fresh",
        description="Where training starts: fresh (a new adapter on the base model), or current (continues "
        "the adapter that serves everyone; rank, alpha and variant must be its own).",
    )
    seed: int = Field(default=17, ge=0, description="Seed of splits, initialisation and order.")

    # --- the LoRA itself

    rank: int = Field(
        default=0,
        ge=0,
        le=512,
        description="LoRA rank r: the adapter's capacity and its size; 0 chooses (16, or 8 where memory is "
        "short).",
    )
    alpha: int = Field(
        default=0,
        ge=0,
        description="LoRA alpha: the update is scaled by alpha / r; 0 is twice the rank.",
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
        description="Layers that get an adapter: all-linear, or module names (q_proj,v_proj).",
    )
    lora_variant: LoraVariant = Field(
        default="lora",
        description="lora, or rslora (scaled by alpha / sqrt(r), steadier at high ranks: Kalajdzievski "
        "2023). dora (Liu et al. 2024) learns a magnitude of its own for every output; it trains slower, and "
        "is rejected but for export, because neither Thumbloop's engine nor vLLM serves it.",
    )
    lora_plus_ratio: float = Field(
        default=0,
        ge=0,
        le=64,
        description="LoRA+ (Hayou et al. 2024): how many times faster the second matrix of an adapter learns "
        "than the first, 16 in the paper; 0 is off, both learn at the same rate.",
    )

    # --- supervised training (sft)

    epochs: float = Field(
        default=0, ge=0, le=100, description="Passes over the pairs; 0 chooses by their number (2 to 8)."
    )
    learning_rate: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Peak learning rate; 0 chooses by the number of pairs and the model's hidden size "
        "(1e-3 to 3e-3 for the default model, lower for larger models).",
    )
    batch_size: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Pairs per optimiser step; 0 chooses by the number of pairs (4 to 32).",
    )
    patience: int = Field(
        default=2, ge=1, description="Validations without improvement after which training stops early."
    )

    replay_weight: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="How strongly supervised training holds on to what the base model says to general "
        "questions (the divergence from it, in nats per token, weighs so much beside the loss on the pairs); "
        "more keeps more of its abilities, 0 keeps none and trains faster.",
    )
    contrast_weight: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="How strongly supervised training tells a question's own answer from those to other "
        "questions (a contrastive loss, which weighs so much beside the loss on the pairs); 0 trains on the "
        "pairs alone, and faster.",
    )

    # --- training on preferences (dpo, kto)

    preference_beta: float = Field(
        default=0,
        ge=0,
        le=10,
        description="How strongly dpo and kto hold on to the model that they start from (beta); 0 chooses by "
        "the number of examples (0.1 to 0.3, more for fewer).",
    )
    preference_learning_rate: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Peak learning rate of dpo and kto; 0 chooses by the number of examples and the model's "
        "hidden size. An order of magnitude below that of sft.",
    )
    preference_epochs: float = Field(
        default=0, ge=0, le=100, description="Passes of dpo and kto over the examples; 0 chooses (1 to 3)."
    )

    # --- the machine

    quantisation: TrainingQuantisation = Field(
        default="auto",
        description="Precision of the frozen base model while training: none (16 or 32 bits), 8bit, 4bit "
        "(NF4, QLoRA; the smallest memory), or auto, which takes 4 bits where 16 do not fit.",
    )
    processes: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Processes that train together on this machine, started by `accelerate launch`, each on "
        "a GPU of its own; 0 is one for every GPU, and one without any. A batch is shared out among them, so "
        "an adapter does not depend on how many there are.",
    )
    accelerate_config: str = Field(
        default="",
        description="Path of a configuration by `accelerate config`, for FSDP or DeepSpeed; empty, every "
        "process holds the whole base model (DDP).",
    )
    niceness: int = Field(
        default=10,
        ge=0,
        le=19,
        description="How much lower the priority of training is than that of answering (Unix nice).",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads that a run computes with; 0 is one for each core. It waits while answers are "
        "given on the same machine, so it need not leave them a core.",
    )
    memory_gib: float = Field(
        default=0.0,
        ge=0,
        description="Main memory in GiB that a run's process may take, at least 2: it plans smaller batches "
        "to stay below, and the system holds it to that. 0 is what is free.",
    )

    @field_validator("memory_gib")
    @classmethod
    def _enough_memory(cls, value: float) -> float:
        if 0 < value < LEAST_MEMORY_GIB:
            raise ValueError(f"torch alone takes more; set {LEAST_MEMORY_GIB} or more, or 0")
        return value

    # --- the examination

    examination_questions: int = Field(
        default=50,
        ge=4,
        le=1000,
        description="Most held-out questions that base, current and candidate answer.",
    )
    examine_without_notes: bool = Field(
        default=True,
        description="Whether held-out questions are also asked without what knowledge gives them, so that "
        "the report can show what the notes do. The verdict looks at the answers with notes, as they are "
        "served; off spares up to half of the examination's time.",
    )
    judge_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Base URL of an OpenAI-compatible server whose model compares the answers of an "
        "examination, such as http://127.0.0.1:8000/v1; it is sent held-out questions and answers. Empty "
        "(the default) asks no judge.",
    )
    judge_model: str = Field(
        default="", description="What that server calls the judging model; needed where judge_url is set."
    )
    judge_key: SecretStr = Field(
        default=SecretStr(""), description="Bearer key for the judge's server, if it wants one."
    )
    judge_seconds: float = Field(
        default=60.0, gt=0, le=600, description="Seconds that the judge may take over one comparison."
    )

    @field_validator("adapters")
    @classmethod
    def _names(cls, adapters: dict[str, AdapterSettings]) -> dict[str, AdapterSettings]:
        for name in adapters:
            if not re.fullmatch(ADAPTER_NAME, name):
                raise ValueError(f"the adapter name {name!r} does not match {ADAPTER_NAME}")
        return adapters

    @property
    def names(self) -> list[str]:
        """Every adapter that is trained here, the one that needs no name first."""
        return list(dict.fromkeys([self.adapter_name, *self.adapters]))

    @property
    def own(self) -> AdapterSettings:
        """What is set for the adapter that is trained alone."""
        return self.adapters.get(self.adapter_name, AdapterSettings())

    def of_adapter(self, name: str | None = None) -> TrainingSettings:
        """These settings as that adapter is trained by; None is `adapter_name`. Raises NotTrainedHere."""
        chosen = self.adapter_name if name is None else name
        if chosen not in self.names:
            raise NotTrainedHere(chosen, self.names)
        own = self.adapters.get(chosen, AdapterSettings()).model_extra or {}
        hygiene = {**self.hygiene.model_dump(), **own.get("hygiene", {})}
        return type(self).model_validate({**dict(self), **own, "hygiene": hygiene, "adapter_name": chosen})


NOT_OF_ONE_ADAPTER: Final = frozenset({"adapter_name", "adapters", "keep_versions", "judge_key"})
"""Settings of the whole installation, which `[training.adapters.NAME]` does not take."""


class GateSettings(BaseModel):
    """When a candidate may serve."""

    model_config = ConfigDict(extra="forbid")

    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        description="How sure a difference must be, by paired bootstrap over the held-out questions.",
    )
    min_questions: int = Field(
        default=5,
        ge=1,
        description="Fewest held-out questions that promote. With 5, all better by luck alone happens once "
        "in 32 times; with fewer, no 95 % confidence can be had.",
    )
    min_gain: float = Field(
        default=0.0,
        ge=-1,
        lt=1,
        description="By how much a candidate must surely be righter (0 to 1) than the base model and the "
        "serving adapter. Below 0 it is how much less is put up with: what is not surely worse may then "
        "serve.",
    )
    max_worse_chrf: float = Field(
        default=2.0, ge=0, description="By how many points (of 100) chrF may surely be worse."
    )
    max_worse_nearest_own: float = Field(
        default=0.1,
        ge=0,
        description="By how much the share of answers that come nearest to their own reference may be worse.",
    )
    max_worse_language_match: float = Field(
        default=0.1, ge=0, description="By how much the share of answers in the right language may be worse."
    )
    max_worse_repetition: float = Field(
        default=0.1, ge=0, description="By how much the repeated share of an answer's 4-grams may grow."
    )
    max_worse_memorisation: float = Field(
        default=0.6,
        ge=0,
        description="By how much the share of answers taken word by word from other training pairs may grow. "
        "A small model that learns a few hundred answers by heart mixes some up; beyond this it recites.",
    )
    max_worse_not_knowing: float = Field(
        default=0.3,
        ge=0,
        description="By how much the abstention rate on unanswerable questions may fall.",
    )
    max_worse_false_not_knowing: float = Field(
        default=0.2,
        ge=0,
        description="By how much the abstention rate on answerable questions may grow.",
    )
    max_worse_general_loss: float = Field(
        default=0.2,
        ge=0,
        description="By how many nats per token the loss on packaged general knowledge may be higher: a "
        "tenth of the default model's 1.9. Where training replays general questions it changed by 0.07 at "
        "most; without, it rose by 2, and abilities were lost.",
    )
    max_worse_judge: float = Field(
        default=0.05,
        ge=0,
        description="How far below one half the judge's preference for the candidate may surely lie.",
    )


class RolloutSettings(BaseModel):
    """How a promoted adapter goes into service, and when it leaves it by itself."""

    model_config = ConfigDict(extra="forbid")

    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of conversations that a promoted adapter answers at first. Below 1 it is a "
        "canary, whose votes are compared with those of what serves the rest; 1 (the default) goes live "
        "at once, because most communities have too few votes to compare. 0.5 decides soonest.",
    )
    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        description="How sure a comparison of votes must be before it decides, over all looks together.",
    )
    max_worse_approval: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="By how much the approval rate of a canary may be lower than its predecessor's and "
        "still be promoted: it has proved better on held-out questions, and votes shall show that it does "
        "no harm. 0 asks for surely better.",
    )
    canary_days: int = Field(
        default=56,
        ge=1,
        le=365,
        description="Days after which a canary that votes have not decided on ends, and what served serves "
        "all; moderators decide then. While one is open the schedule trains no next version of it. In eight "
        "weeks (the default) 150 judged answers a week tell two adapters 5 points apart most of the time.",
    )
    rollback: bool = Field(
        default=True,
        description="Whether an adapter that fails, repeats itself, answers in the wrong language or gets "
        "surely fewer approving votes than its predecessor is taken out of service by itself. A version that "
        "was taken out comes back by a person's decision only.",
    )
