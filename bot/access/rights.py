"""One table of rights, which Discord, Telegram, the console, the API and the command line all ask."""

from __future__ import annotations

from typing import Final, Literal

from bot.access.actor import ROLES, Actor, Role
from bot.errors import NotAllowed

Action = Literal[
    "answers.manage",
    "statistics.view",
    "review",
    "answers.rate",
    "ratings.manage",
    "adapter.try",
    "adapter.view",
    "adapter.switch",
    "adapter.curate",
    "settings.change",
    "run.view",
    "report.view",
    "dataset.view",
    "dataset.curate",
    "run.start",
    "data.import",
    "reviewer.trust",
    "documents.manage",
    "documents.path",
    "audit.view",
    "privacy.view",
]

NEEDS: Final[dict[Action, Role]] = {
    "answers.manage": "moderator",  # stop, repeat or take away the answer to somebody else's question
    "statistics.view": "moderator",
    "review": "moderator",
    "answers.rate": "moderator",  # blind, those to questions of their own community
    "ratings.manage": "administrator",  # open and close rounds of blind rating, see and export their results
    "adapter.try": "moderator",  # have one's own question answered by an adapter of one's choice
    "adapter.view": "administrator",
    "adapter.switch": "administrator",  # and roll back
    "settings.change": "administrator",
    "run.view": "administrator",
    "report.view": "operator",  # a run's report quotes questions of every community
    "dataset.view": "operator",  # its pairs come from every community
    "dataset.curate": "operator",  # overrule a hygiene rule, settle a contradiction
    "run.start": "operator",
    "adapter.curate": "operator",  # pin, prune and import adapters, overrule the gate
    "data.import": "operator",
    "reviewer.trust": "operator",
    "documents.manage": "moderator",  # add, see, refresh and remove what a community gives its bot to read
    "audit.view": "operator",  # who did what, in every community
    "privacy.view": "operator",  # who stays out of training, and how far forget-me has been carried out
    "documents.path": "operator",  # add files and folders of the machine that runs the bot
}
"""The least role that each action takes, in the community that it concerns."""


OF_ALL: Final[frozenset[Action]] = frozenset(
    {"report.view", "dataset.view", "dataset.curate", "audit.view", "privacy.view"}
)
"""What concerns every community at once: no role in one of them is enough."""


def may(actor: Actor, action: Action, community_id: int | None) -> bool:
    """Whether the actor may do that in that community; None is what concerns every community."""
    here = actor.community_id is None or (actor.community_id == community_id and action not in OF_ALL)
    return here and ROLES.index(actor.role) >= ROLES.index(NEEDS[action])


def require(actor: Actor, action: Action, community_id: int | None) -> None:
    """Raise NotAllowed unless the actor may do that in that community; None is every community."""
    if not may(actor, action, community_id):
        raise NotAllowed(NEEDS[action])
