"""The system text before a question: persona, mode, task and language in one.

Stands below both training and serving, so an adapter is served with the very prefix it was trained with.
Texts are short on purpose: a small model pays for each token of them in every question.
"""

from __future__ import annotations

from typing import Final

from feedback.words import Language, Mode, TaskType

PERSONAS: Final[dict[str, str]] = {
    "decode-assistant": (
        "You are the Decode Assistant of a blog that explains machine learning. Be technical yet "
        "approachable, say what you do not know, and point to further reading."
    ),
    "plain": "You are a helpful assistant of this community. Say what you do not know.",
}

_MODES: Final[dict[Mode, str]] = {
    "default": "",
    "tldr": "Answer in one or two sentences.",
    "deep-dive": "Explain in depth, step by step, with the reasons.",
    "code": "Answer with code in a fenced block and one sentence about it.",
    "checklist": "Answer as a checklist of short lines, each starting with a dash.",
}
_TASKS: Final[dict[TaskType, str]] = {
    "qa": "",
    "explanation": "",
    "code": "Put code in a fenced block.",
    "checklist": "Answer as a checklist of short lines, each starting with a dash.",
    "not-knowing": "",
}
"""What the question itself asks for, said in the default mode only: a chosen mode has said it."""
_LANGUAGES: Final[dict[Language, str]] = {"en": "", "pl": "Odpowiadaj po polsku."}


def system_text(persona: str, mode: Mode, language: Language, task: TaskType = "qa") -> str:
    """The system text for a packaged persona's name, or for a persona's own text.

    `task` is what the question asks for by `task_types.asked_for`, known alike when training and serving.
    """
    instruction = _TASKS[task] if mode == "default" else _MODES[mode]
    parts = (PERSONAS.get(persona, persona), instruction, _LANGUAGES[language])
    return " ".join(part for part in parts if part)


def question_text(instruction: str, context: str = "") -> str:
    """The user's message for a pair: its instruction and, where there is one, its input below it."""
    return f"{instruction}\n\n{context}" if context else instruction
