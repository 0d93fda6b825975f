"""The layouts of training rows by name: what recognises itself, Axolotl's types, LLaMA-Factory's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from feedback.imports.records import Format
from feedback.imports.training_rows import Layout, fits

_ALPACA: Final = {
    "question": "instruction",
    "input": "input",
    "answer": "output",
    "system": "system",
    "history": "history",
    "task_type": "task_type",
    "language": "language",
}
ALPACA: Final = Format("alpaca", "instructions with their answers (Alpaca)", "pairs")
KTO: Final = Format("kto", "answers with a thumb each (KTO)", "ratings")
PREFERENCES: Final = Format("preferences", "preference pairs (chosen and rejected answers)", "preferences")
SHAREGPT: Final = Format("sharegpt", "ShareGPT conversations", "pairs")
MESSAGES: Final = Format("messages", "OpenAI chat messages", "pairs")
COMPLETIONS: Final = Format("prompt-completion", "prompts with their completions", "pairs")
QUESTIONS: Final = Format("question-answer", "questions with their answers", "pairs")
MAPPED: Final = Format("mapped", "rows with the keys that were named", "pairs")
LLAMA_FACTORY: Final = Format(
    "llama-factory", "data sets that a dataset_info.json of LLaMA-Factory describes", "pairs"
)

_KTO: Final = {"label": "label", "system": "system"}
_PREFERENCE: Final = {"chosen": "chosen", "rejected": "rejected", "system": "system"}

RECOGNISED: Final[tuple[tuple[Format, Layout], ...]] = (
    (KTO, Layout({**_KTO, "question": "prompt", "answer": "completion"})),
    (KTO, Layout({**_KTO, "messages": "messages", "label": "label"})),
    (
        KTO,
        Layout({**_KTO, "question": "instruction", "input": "input", "answer": "output", "label": "kto_tag"}),
    ),
    (
        PREFERENCES,
        Layout(
            {
                **_PREFERENCE,
                "question": "instruction",
                "chosen": "chosen_response",
                "rejected": "rejected_response",
            }
        ),
    ),
    (PREFERENCES, Layout({**_PREFERENCE, "question": "prompt"})),
    (SHAREGPT, Layout({"messages": "conversations", "system": "system"})),
    (SHAREGPT, Layout({"messages": "conversation", "system": "system"})),
    (MESSAGES, Layout({"messages": "messages"})),
    (ALPACA, Layout(_ALPACA)),
    (ALPACA, Layout({**_ALPACA, "answer": "response"})),
    (COMPLETIONS, Layout({"question": "prompt", "answer": "completion", "system": "system"})),
    (COMPLETIONS, Layout({"question": "prompt", "answer": "response", "system": "system"})),
    (QUESTIONS, Layout({"question": "question", "answer": "answer", "input": "context", "system": "system"})),
    (QUESTIONS, Layout({"question": "question", "answer": "answers", "input": "context"})),
    (QUESTIONS, Layout({"question": "question", "answer": "response", "system": "system"})),
    (QUESTIONS, Layout({"question": "pytanie", "answer": "odpowiedź"})),
    (QUESTIONS, Layout({"question": "pytanie", "answer": "odpowiedz"})),
)
"""In the order in which a row is held against them: what asks for more keys comes first."""

_QA: Final = {"question": "question", "answer": "answer"}
AXOLOTL: Final[Mapping[str, tuple[Format, Layout]]] = {
    "alpaca": (ALPACA, Layout(_ALPACA)),
    "alpaca_w_system.load": (ALPACA, Layout(_ALPACA)),
    "alpaca_w_system.load_open_orca": (
        QUESTIONS,
        Layout({"system": "system_prompt", "question": "question", "answer": "response"}),
    ),
    "alpaca_chat.load_concise": (ALPACA, Layout(_ALPACA)),
    "alpaca_chat.load_qa": (QUESTIONS, Layout(_QA)),
    "alpaca_chat.load_no_prompt": (ALPACA, Layout(_ALPACA)),
    "alpaca_chat.load_camel_ai": (QUESTIONS, Layout({"question": "message_1", "answer": "message_2"})),
    "gpteacher": (ALPACA, Layout({**_ALPACA, "answer": "response"})),
    "oasst": (ALPACA, Layout({"question": "INSTRUCTION", "answer": "RESPONSE"})),
    "context_qa": (QUESTIONS, Layout({**_QA, "input": "article"})),
    "context_qa.load_v2": (QUESTIONS, Layout({**_QA, "input": "context"})),
    "jeopardy": (QUESTIONS, Layout({**_QA, "input": "category"})),
    "summarizetldr": (QUESTIONS, Layout({"question": "article", "answer": "summary"})),
    "sharegpt": (SHAREGPT, Layout({"messages": "conversations", "system": "system"})),
    "chat_template": (MESSAGES, Layout({"messages": "messages"})),
    "chat_template.default": (PREFERENCES, Layout({**_PREFERENCE, "question": "messages"})),
}
"""What Axolotl's `type:` means where it means one thing."""

_RESPONSES: Final = {"chosen": "chosen_response", "rejected": "rejected_response", "system": "system"}
_ANSWERED: Final = {**_KTO, "answer": "completion"}
PREFERRED: Final[Mapping[str, tuple[tuple[Format, Layout], ...]]] = {
    "chatml.argilla": (
        *(
            (PREFERENCES, Layout({**answers, "question": asked}))
            for answers in (_PREFERENCE, _RESPONSES)
            for asked in ("prompt", "input", "question", "instruction")
        ),
        (KTO, Layout({**_ANSWERED, "question": "instruction"})),
    ),
    "chatml.argilla_chat": (
        (PREFERENCES, Layout(_PREFERENCE)),
        (KTO, Layout({"messages": "completion", "label": "label"})),
    ),
    "chatml.icr": ((PREFERENCES, Layout({**_PREFERENCE, "question": "input"})),),
    "chatml.intel": (
        (PREFERENCES, Layout({**_PREFERENCE, "question": "question"})),
        (KTO, Layout({**_ANSWERED, "question": "question"})),
    ),
    "chatml.prompt_pairs": (
        (PREFERENCES, Layout({**_PREFERENCE, "question": "prompt"})),
        (KTO, Layout({**_ANSWERED, "question": "prompt"})),
    ),
    "chatml.ultra": (
        (PREFERENCES, Layout({**_PREFERENCE, "question": "prompt"})),
        (KTO, Layout({**_ANSWERED, "question": "prompt"})),
    ),
}
"""What it means for DPO and for KTO, of which the rows tell. `llama3.`, `zephyr.` and `passthrough.` before a
name mean the same rows as `chatml.`."""


def of_type(name: str, row: Mapping[str, Any]) -> tuple[Format, Layout] | None:
    """The layout that a person names, in our words or Axolotl's, for such rows; None where there is none."""
    wanted = name.strip()
    for prefix in ("llama3.", "zephyr.", "passthrough."):
        if wanted.startswith(prefix):
            wanted = f"chatml.{wanted.removeprefix(prefix)}"
    if wanted in AXOLOTL:
        return AXOLOTL[wanted]
    if meant := PREFERRED.get(wanted):
        return next((one for one in meant if _has_all(row, one[1])), meant[0])
    return next(((known, layout) for known, layout in RECOGNISED if known.name == wanted), None)


def _has_all(row: Mapping[str, Any], layout: Layout) -> bool:
    return fits(row, layout) and ("question" not in layout.keys or layout.keys["question"] in row)


def of_llama_factory(entry: Mapping[str, Any]) -> Layout:
    """The layout of an entry of dataset_info.json; `columns` replace the defaults, as LLaMA-Factory does."""
    columns = {str(name): str(key) for name, key in (entry.get("columns") or {}).items()}
    tags = {str(name): str(key) for name, key in (entry.get("tags") or {}).items()}
    ranking = bool(entry.get("ranking"))
    keys: dict[str, str] = {}
    if entry.get("formatting", "alpaca") in ("sharegpt", "openai"):
        keys["messages"] = columns.get("messages", "conversations")
        if ranking:
            keys = {"question": keys["messages"]}
    else:
        columns = columns or {"prompt": "instruction", "query": "input", "response": "output"}
        # what it asks is the prompt and the query, of which either may be all
        keys["question"] = columns.get("prompt") or columns.get("query", "instruction")
        if "prompt" in columns and "query" in columns:
            keys["input"] = columns["query"]
        if not ranking:
            keys["answer"] = columns.get("response", "output")
        if "history" in columns:
            keys["history"] = columns["history"]
    if "system" in columns:
        keys["system"] = columns["system"]
    if ranking:
        keys["chosen"] = columns.get("chosen", "chosen")
        keys["rejected"] = columns.get("rejected", "rejected")
    elif "kto_tag" in columns:
        keys["label"] = columns["kto_tag"]
    return Layout(keys, tags)
