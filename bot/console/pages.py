"""The pages of the console: their paths, names, and what it takes to see them.

One list, which the navigation, the table of rights and the tests that walk every page go by. Which function
builds a page stands in `app.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from bot.access.rights import Action
from bot.console import texts
from bot.texts import Text

Group = Literal["ask", "teach", "train", "run"]


@dataclass(frozen=True)
class Page:
    """A page and what lies below its path. `needs` None is any role, `group` None is no navigation."""

    path: str
    name: Text
    icon: str
    needs: Action | None
    group: Group | None


PAGES: Final = (
    Page("/", texts.CHAT, "o_forum", None, "ask"),
    Page("/overview", texts.OVERVIEW, "o_insights", "statistics.view", "ask"),
    Page("/review", texts.REVIEW, "o_fact_check", "review", "teach"),
    Page("/review/list", texts.REVIEW_LIST_TITLE, "o_list", "review", None),
    Page("/rate", texts.RATE_BLIND, "o_balance", "answers.rate", "teach"),
    Page("/knowledge", texts.KNOWLEDGE, "o_menu_book", "documents.manage", "teach"),
    Page("/import", texts.IMPORT, "o_move_to_inbox", "data.import", "teach"),
    Page("/datasets", texts.DATASETS, "o_dataset", "dataset.view", "train"),
    Page("/runs", texts.RUNS, "o_model_training", "run.view", "train"),
    Page("/adapters", texts.ADAPTERS, "o_tune", "adapter.view", "train"),
    Page("/turns", texts.TURN_TITLE, "o_account_tree", "dataset.view", None),
    Page("/settings", texts.SETTINGS, "o_settings", "settings.change", "run"),
    Page("/members", texts.MEMBERS, "o_privacy_tip", "privacy.view", "run"),
    Page("/audit", texts.AUDIT, "o_history", "audit.view", "run"),
    Page("/sessions", texts.SESSIONS, "o_devices", None, "run"),
)
"""Within a group in the order of the navigation."""

GROUPS: Final[dict[Group, Text | None]] = {
    "ask": None,
    "teach": texts.GROUP_TEACH,
    "train": texts.GROUP_TRAIN,
    "run": texts.GROUP_RUN,
}
"""The navigation's groups in their order, with their headings."""
