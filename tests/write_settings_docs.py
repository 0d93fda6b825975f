"""Writes `docs/settings.md` and `.env.example` from the settings classes.

`python -m tests.write_settings_docs` does it; a test fails when either differs from what this would write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bot.settings import PREFIX, TOML_FILE, Settings
from feedback.settings import RetentionDays
from training.settings import AdapterSettings

ROOT = Path(__file__).parent.parent
COMMAND = "python -m tests.write_settings_docs"

_INTRODUCTION = f"""\
# Settings

A setting may stand in several places. Where two of them disagree, the earlier one counts:

1. options of a command, such as `--data`;
2. variables of the environment, named `{PREFIX}…`;
3. the file `.env` in the folder where Thumbloop is started;
4. the file `{TOML_FILE}` in that folder;
5. the default.

A setting of a section is written with two underscores in a variable (`{PREFIX}TRAINING__RANK=8`), and under
the section's heading in `{TOML_FILE}`:

```toml
model = "SmolLM2-135M-Instruct"

[training]
rank = 8
```

A setting that does not exist, or a value that is not allowed, stops the start with a sentence that names
it. Secrets are never shown; keep them in the environment, or in a `.env` that only you can read
(`chmod 600 .env`).

This page is written by `{COMMAND}` from the settings classes.
"""

_ADAPTERS = """\
## `[training.adapters.NAME]`: one named adapter

```toml
[training.adapters.docs]
communities = ["discord:123"]
schedule = "0 3 * * 1"
rank = 8
```

Beside the settings of this table, every one of `[training]` but `adapter_name`, `adapters`, `keep_versions`
and `judge_key` may stand here; it then counts for this adapter alone. In the environment it is
`THUMBLOOP_TRAINING__ADAPTERS__DOCS__RANK=8`, or all together
`THUMBLOOP_TRAINING__ADAPTERS={"docs": {"rank": 8}}`.

| Setting | Allowed | Default | What it does |
|---|---|---|---|"""

_ENV_INTRODUCTION = f"""\
# Copy this file to .env and take the mark off the lines that you want to change; every value is the default.
# docs/settings.md says the same with what is allowed. Written by `{COMMAND}`.
"""


def settings_page() -> str:
    """The text of `docs/settings.md`."""
    parts = [_INTRODUCTION]
    for name, heading, fields in _sections():
        parts.append(f"## {heading}\n")
        parts.append("| Setting | Variable | Allowed | Default | What it does |\n|---|---|---|---|---|")
        for key, field in fields:
            full = f"{name}.{key}" if name else key
            cells = (f"`{full}`", f"`{_variable(full)}`", _allowed(field), _shown(field), field.description)
            parts.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    parts.append(_ADAPTERS)
    for key, field in AdapterSettings.model_fields.items():
        parts.append(f"| `{key}` | {_allowed(field)} | {_shown(field)} | {field.description} |")
    return "\n".join([*parts, ""])


def env_example() -> str:
    """The text of `.env.example`."""
    parts = [_ENV_INTRODUCTION]
    for name, heading, fields in _sections():
        parts.append(f"\n# --- {heading}\n")
        for key, field in fields:
            parts += [f"# {line}" for line in wrap(f"{field.description}", 100)]
            parts.append(f"#{_variable(f'{name}.{key}' if name else key)}={_plain(field)}\n")
    return "\n".join(parts)


FILES = {ROOT / "docs" / "settings.md": settings_page, ROOT / ".env.example": env_example}


def _sections() -> Iterator[tuple[str, str, list[tuple[str, FieldInfo]]]]:
    """Name, heading and fields of each section, those without a section first."""
    yield "", "General", _own_fields(Settings)
    yield from _sections_of(Settings, "")


def _sections_of(
    settings: type[BaseModel], prefix: str
) -> Iterator[tuple[str, str, list[tuple[str, FieldInfo]]]]:
    for key, field in settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            name = prefix + key
            about = (section.__doc__ or "").strip().splitlines()[0].rstrip(".")
            yield name, f"`[{name}]`: {about[0].lower()}{about[1:]}", _own_fields(section)
            yield from _sections_of(section, f"{name}.")


def _own_fields(section: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [
        (key, field)
        for key, field in section.model_fields.items()
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    ]


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "__").upper()


def _allowed(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    kinds: dict[Any, str] = {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "`true`, `false`",
        Path: "folder",
        SecretStr: "secret",
        tuple[int, ...]: "list of whole numbers",
        dict[str, AdapterSettings]: "tables by name",
        dict[str, RetentionDays]: "whole numbers by name",
    }
    kind = kinds.get(annotation, "list of texts")
    bounds = []
    for rule in field.metadata:
        if isinstance(rule, Ge):
            bounds.append(f"at least {rule.ge}")
        elif isinstance(rule, Gt):
            bounds.append(f"above {rule.gt}")
        elif isinstance(rule, Le):
            bounds.append(f"at most {rule.le}")
        elif isinstance(rule, Lt):
            bounds.append(f"below {rule.lt}")
        elif isinstance(rule, MinLen):
            bounds.append("not empty")
        elif getattr(rule, "pattern", None):
            bounds.append(f"matching `{rule.pattern}`")
    return ", ".join((kind, *bounds))


def _shown(field: FieldInfo) -> str:
    value = _plain(field)
    return f"`{value}`" if value not in ("", "[]", "{}") else "none"


def _plain(field: FieldInfo) -> str:
    value = field.default
    assert value is not PydanticUndefined, "every setting has a default"
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "[]" if value == () else f"{value}"


def main() -> None:
    """Write both files."""
    for path, text in FILES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text(), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
