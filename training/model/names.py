"""What a base model may be called: the packaged default, a folder's path, or a name on the hub."""

from __future__ import annotations

import re
from typing import Final

DEFAULT_MODEL: Final = "SmolLM2-135M-Instruct"
_HUB_NAME_OF_DEFAULT: Final = "HuggingFaceTB/SmolLM2-135M-Instruct"
ALLOWED_NAMES: Final = (
    f"Use {DEFAULT_MODEL}, the path of a folder written by save_pretrained, "
    "or a name on the hub such as Qwen/Qwen3-4B-Instruct-2507."
)

# what the hub allows: letters, digits and single - . inside each part, 96 characters in all
_HUB_NAME = re.compile(r"(?=.{3,96}$)(?!.*(--|\.\.))\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)


def is_hub_name(name: str) -> bool:
    """Whether the hub could have a model of that name."""
    return _HUB_NAME.fullmatch(name) is not None


def public_name(name: str) -> str:
    """What a model that adapters know as `name` is called elsewhere: its hub name, where it has one."""
    return _HUB_NAME_OF_DEFAULT if name == DEFAULT_MODEL else name
