"""The settings of the whole product: environment, then `.env`, then `thumbloop.toml`, then defaults.

Variables are THUMBLOOP_ and the field in capitals; a section's field follows two underscores
(THUMBLOOP_TRAINING__RANK). Composes the sections of `feedback` and `training`. It is long
because a setting is described where it is declared.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as UndecodableJson

from feedback.errors import SettingsError
from feedback.settings import RecordSettings
from feedback.words import Mode
from training.model.names import DEFAULT_MODEL, public_name
from training.settings import (
    NOT_OF_ONE_ADAPTER,
    AdapterSettings,
    GateSettings,
    RolloutSettings,
    ServingQuantisation,
    Thinking,
    TrainingSettings,
)

if TYPE_CHECKING:
    from training.model.base_model import ModelChoice

PREFIX: Final = "THUMBLOOP_"
_CREDENTIALS: Final = re.compile(r"(?<=://).*@")
TOML_FILE: Final = "thumbloop.toml"
DOCUMENTED: Final = "docs/settings.md lists all settings."


def _json_list(value: Any) -> Any:
    """A list as it stands in the environment, where every value is text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('write a JSON list, such as ["one","two"]') from None


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches that name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(host: str, others: ValidationInfo) -> str:
    """An address that only this machine reaches, unless people sign in; `public_url` is read before it."""
    if not _is_loopback(host) and not others.data.get("public_url"):
        raise ValueError(
            "others reach the console there, so they must sign in: say where their browsers open it with "
            "web.public_url (THUMBLOOP_WEB__PUBLIC_URL); or listen on 127.0.0.1 and tunnel to it with "
            "ssh -L 8321:127.0.0.1:8321 HOST"
        )
    return host


def _public_url(url: str) -> str:
    """An address of people's browsers: http or https, a host, nothing behind the path."""
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ValueError("write it as https://bot.example.org or https://example.org/bot")
    if parts.username or parts.password:
        raise ValueError("leave out the name and the password")
    return url.rstrip("/")


def _proxy(address: str) -> str:
    try:
        ip_network(address)
    except ValueError:
        raise ValueError("write addresses or networks, such as 127.0.0.1 or 10.0.0.0/8") from None
    return address


Proxy = Annotated[str, AfterValidator(_proxy)]


def _folder(value: Any) -> Any:
    """A folder with ~ written out; in .env and TOML no shell does so. Empty would be the current folder."""
    if value == "":
        raise ValueError("name a folder")
    try:
        return Path(value).expanduser() if isinstance(value, str | Path) else value
    except RuntimeError:
        raise ValueError("nobody here has that home folder") from None


class AnsweringSettings(BaseModel):
    """How answers are generated."""

    model_config = ConfigDict(extra="forbid")

    max_new_tokens: int = Field(default=200, ge=1, le=8192, description="Longest answer, in tokens.")
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="Randomness of the answers; 0 always takes the likeliest token."
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Nucleus sampling: the share of probability that tokens are drawn from.",
    )
    show_reasoning: bool = Field(
        default=False,
        description="Whether what a reasoning model thinks before it answers is shown, quoted above the "
        "answer. It is kept, sent back to the model and trained on in neither case.",
    )
    repetition_penalty: float = Field(
        default=1.05,
        ge=1,
        le=2,
        description="Above 1, tokens already said become less likely; small models need it.",
    )
    history_turns: int = Field(
        default=4,
        ge=0,
        le=100,
        description="Earlier turns of the conversation that go into the prompt, budget allowing.",
    )
    max_question_characters: int = Field(
        default=8000, ge=100, description="Longest question taken; a longer one is refused, never cut."
    )
    answer_seconds: int = Field(
        default=300,
        ge=5,
        le=3600,
        description="Seconds after which an answer is given up, and the asker told.",
    )
    max_running: int = Field(default=16, ge=1, le=256, description="Answers generated at the same time.")
    max_waiting: int = Field(
        default=64, ge=1, description="Questions that may wait; the next one is told that the bot is busy."
    )


class KnowledgeSettings(BaseModel):
    """What the bot looks up before it answers: approved answers, and documents that communities give."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    enabled: bool = Field(
        default=True,
        description="Whether passages are looked up for a question. A community without approved answers and "
        "documents is answered as without.",
    )
    passages: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Passages that go into the prompt at most, best first; 0 chooses: 1 for the packaged "
        "model, which loses the thread with more, 3 for any other.",
    )
    prompt_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the prompt's room beside persona and question that passages may take; the "
        "conversation so far takes the rest.",
    )
    candidates: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Passages that the search by words and the search by meaning each bring, of which the "
        "best are taken.",
    )
    trade_off: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="What counts when passages are chosen: at 1 their fit alone, below it more and more also "
        "that they say different things (maximal marginal relevance's lambda).",
    )
    learn: bool = Field(
        default=True,
        description="Whether retrieval learns daily from the wordings in which a community's answers were "
        "approved. What it learns is used only where held-out wordings surely find their answers better.",
    )
    approved_text: bool = Field(
        default=True,
        description="Whether a question that is nearly word for word one with an approved answer gets that "
        "text itself, marked as approved by the moderators, without the model.",
    )
    approved_text_sameness: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="How alike the words of both questions must be for that: 1 is all of them in any order; "
        "numbers and negations must always be the same.",
    )
    say_unknown: bool = Field(
        default=True,
        description="Whether the bot says that it does not know where nothing in the community's knowledge "
        "fits a question that begins a conversation; the question then waits for the moderators as a gap. "
        "Communities without approved answers and documents are answered by the model alone.",
    )
    least_fit: float = Field(
        default=0.3,
        ge=-1,
        le=1,
        description="How near the nearest passage must be to the question, as the cosine of their vectors "
        "(without vectors: as the share of the question's words), for the question to have an answer.",
    )
    where_to_ask: str = Field(
        default="",
        description="Where members may ask instead when the bot does not know, such as a channel's name or a "
        "link; empty names no place.",
    )
    embedding: str = Field(
        default="packaged",
        min_length=1,
        description="What makes vectors of texts, for the search by meaning: packaged is what comes with "
        "Thumbloop, a multilingual model and an English one; off searches by words alone; else a folder or "
        "hub id of a sentence-transformers model (pip install sentence-transformers), or the base URL of an "
        "OpenAI-compatible server, such as http://127.0.0.1:8000/v1. Another one indexes everything anew.",
    )
    embedding_model: str = Field(default="", description="What that server calls its embedding model.")
    embedding_api_key: SecretStr = Field(
        default=SecretStr(""), description="Bearer key for that server, if it wants one."
    )


def _network(value: str) -> str:
    """A network in CIDR notation, or one address."""
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        raise ValueError("write networks such as 10.0.0.0/8, or addresses such as 192.168.1.20") from None


class DocumentSettings(BaseModel):
    """Documents that communities give: what one may take to read, and which addresses are fetched."""

    model_config = ConfigDict(extra="forbid")

    file_mib: int = Field(
        default=64, ge=1, le=1024, description="MiB of the largest file or page that is read."
    )
    parse_seconds: int = Field(
        default=120, ge=1, le=3600, description="Seconds after which reading a file is given up."
    )
    parse_memory_mib: int = Field(
        default=1024,
        ge=64,
        description="MiB of memory that reading a file may take, in a process of its own.",
    )
    pages: int = Field(default=3000, ge=1, description="Pages of the longest PDF that is read.")
    expanded_mib: int = Field(
        default=256, ge=1, description="MiB that a packed file, such as DOCX, may unfold to."
    )
    piece_characters: int = Field(
        default=1000,
        ge=200,
        le=8000,
        description="Characters of the longest passage that documents are cut into. A passage goes into the "
        "prompt whole: longer ones say more, and leave less room for others. It holds for what is read from "
        "now on.",
    )
    site_pages: int = Field(
        default=1000, ge=1, le=50_000, description="Pages that are taken of a sitemap or feed at most."
    )
    fetch_seconds: int = Field(
        default=60, ge=1, le=3600, description="Seconds that fetching a page may take, redirects included."
    )
    private_networks: Annotated[
        tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_json_list)
    ] = Field(
        default=(),
        description="Private networks whose addresses may be fetched, such as an intranet's 10.1.0.0/16. "
        "Without any, only public addresses are: otherwise whoever moderates a community could read what "
        "this machine reaches. A JSON list in the environment.",
    )


def _hours(written: str) -> str:
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", written)
    hours = [int(found[1]), int(found[2])] if found else []
    if written and (not hours or max(hours) > 23 or hours[0] == hours[1]):
        raise ValueError("two different hours from 0 to 23, such as 22-6, or nothing")
    return written


class ScheduleSettings(BaseModel):
    """When the retrain job looks whether enough new pairs are approved, and when documents are read anew."""

    model_config = ConfigDict(extra="forbid")

    runs_here: bool = Field(
        default=True,
        description="Whether this process may run the jobs and so train. Of several services on one record "
        "one runs them; false keeps it from being this one, such as one that only speaks to Discord and has "
        "no memory for training.",
    )
    retrain: str = Field(
        default="nightly",
        description="nightly, weekly, biweekly, off, a cron expression of five fields, or an interval such "
        "as 'every 12h' (m, h, d, w). Hours, days and weeks go by the clock on the wall, whatever clocks do. "
        "Where cron's day of the month and weekday are both given, both must fit; cron itself takes either.",
    )
    refresh: str = Field(
        default="off",
        description="When documents are read anew from their folders and addresses: off, or as `retrain`. "
        "Off, for nothing is fetched that nobody asked for; `thumbloop knowledge refresh` does it by hand.",
    )
    hour: int = Field(
        default=3,
        ge=0,
        le=23,
        description="Hour of the nightly, weekly (Mondays) and biweekly runs, in `timezone`.",
    )
    timezone: str = Field(default="UTC", description="IANA time zone of the schedule, such as Europe/Warsaw.")
    quiet_hours: Annotated[str, AfterValidator(_hours)] = Field(
        default="",
        description="Hours in `timezone` in which no training begins, such as 17-23 or 22-6, because people "
        "talk most then; what falls into them begins at their end. A run that has begun goes on. Empty (the "
        "default) is none, for training makes way for answers by itself.",
    )
    new_pairs: int = Field(
        default=0,
        ge=0,
        description="Newly approved pairs from which an adapter is trained without waiting for its time; 0 "
        "(the default) waits, because a night's training disturbs nobody.",
    )
    falling_approval: bool = Field(
        default=False,
        description="Whether an adapter is trained without waiting for its time when its answers of the last "
        "two weeks are surely liked less than those before, and enough pairs are new.",
    )
    repeated_errors: int = Field(
        default=0,
        ge=0,
        description="So many edits, rejections or votes with one reason about one topic in a week from which "
        "an adapter is trained without waiting for its time, when enough pairs are new; 0 (the default) "
        "waits.",
    )
    changed_pairs: int = Field(
        default=0,
        ge=0,
        description="So many pairs that the adapter in service learnt from and that moderators have decided "
        "anew, or whose documents say something else by now, from which it is trained "
        "without waiting for its time; 0 (the default) waits.",
    )


class WebSettings(BaseModel):
    """The web console.

    On this machine alone it asks nobody who they are. With a `public_url` everybody signs in.
    """

    model_config = ConfigDict(extra="forbid")

    public_url: Annotated[str, AfterValidator(_public_url)] = Field(
        default="",
        description="Where people's browsers reach the console, such as https://bot.example.org. Setting it "
        "makes everybody sign in, by a link from /console or `thumbloop console link`. Without it only this "
        "machine's browsers are answered; from elsewhere, tunnel: ssh -L 8321:127.0.0.1:8321 HOST.",
    )
    host: Annotated[str, AfterValidator(_host)] = Field(
        default="127.0.0.1",
        description="Address to listen on. Any but this machine's own (127.0.0.1, ::1, localhost) takes "
        "`web.public_url`.",
    )
    port: int = Field(default=8321, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    trusted_proxies: Annotated[tuple[Proxy, ...], NoDecode, BeforeValidator(_json_list)] = Field(
        default=(),
        description="Addresses or networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are "
        "believed, such as 127.0.0.1 for one on this machine. A JSON list in the environment.",
    )


class OidcSettings(BaseModel):
    """Signing in to the console with a team's own accounts, by OpenID Connect; beside links."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    issuer: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="The provider's issuer URL, such as https://login.example.org/realms/team; it takes "
        "`web.public_url` and `pip install 'thumbloop[oidc]'`. Empty (the default) is none. Register "
        "`PUBLIC_URL/sign-in/oidc/back` there.",
    )
    client_id: str = Field(default="", description="What the provider calls this console.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="Its secret at the provider.")
    name: str = Field(default="OpenID Connect", description="What the button that leads there calls it.")
    scope: str = Field(
        default="openid profile email", description="What the provider is asked for; some want `groups` here."
    )
    claim: str = Field(default="groups", description="The claim that gives roles: one value or a list.")
    roles: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_json_list)] = Field(
        default=(),
        description="Who is what: lines VALUE=operator, or VALUE=moderator:discord:ID (administrator, "
        "telegram) in one community. Who is nothing by them gets in nowhere. A JSON list in the environment.",
    )


class ApiSettings(BaseModel):
    """The OpenAI-compatible API."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; open it to a network only behind TLS."
    )
    port: int = Field(default=8322, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    keys: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_json_list)] = Field(
        default=(),
        repr=False,  # a whole key may stand there by mistake
        description="Who may call: lines that `thumbloop api-key NAME` prints, name:SHA-256 of the key, and "
        "optionally :platform:community, whose turns are then logged. A JSON list in the environment. "
        "Without any, the API is not served.",
    )


class LogsSettings(BaseModel):
    """How much is kept of logs that were put aside; that happens at 20 MB."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(default=30, ge=1, le=3650, description="Days for which a log is kept after that.")
    mib: int = Field(
        default=200, ge=1, description="MiB that they may take together; the oldest go before their time."
    )


class TracingSettings(BaseModel):
    """Traces of answers for OpenTelemetry; they hold no text and no person."""

    model_config = ConfigDict(extra="forbid")

    endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Base URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318; it "
        "takes `pip install 'thumbloop[traces]'`. Empty (the default) sends none.",
    )


class RemoteSettings(BaseModel):
    """An OpenAI-compatible server, such as vLLM, that answers instead of the model in this process."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Its base URL, such as http://127.0.0.1:8000/v1; empty (the default) answers in this "
        "process.",
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="Bearer key for that server, if it wants one."
    )
    model: str = Field(
        default="",
        description="What that server calls the base model; empty takes the only base model that it lists.",
    )
    context_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens that prompt and answer may take together; 0 asks the server, and vLLM knows.",
    )
    adapters: Literal["runtime", "at-start"] = Field(
        default="runtime",
        description="How the server gets adapters: runtime loads them through vLLM's API (trusted networks "
        "only), at-start takes those that the server was started with.",
    )
    adapters_folder: str = Field(
        default="",
        description="Where the server sees the data folder's `adapters`, when it sees it under another path "
        "than this process does.",
    )

    @property
    def display_url(self) -> str:
        """The URL without user and password, for people."""
        return without_credentials(self.url)

    connect_s: float = Field(default=5.0, gt=0, description="Seconds that connecting may take.")
    first_token_s: float = Field(
        default=120.0, gt=0, description="Seconds until the first token; the server's queue counts too."
    )
    between_tokens_s: float = Field(
        default=30.0, gt=0, description="Seconds of silence in the middle of an answer before it is given up."
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=10,
        description="How often a question is put again after 429, 5xx or a broken connection, before its "
        "first token; never after it.",
    )
    backoff_s: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Seconds before the first retry, doubled for each further one and varied by chance; the "
        "server's Retry-After may lengthen it.",
    )
    failures: int = Field(
        default=5, ge=1, description="Failures in a row after which the server is left alone for a while."
    )
    pause_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds that it is then left alone, until one question tries it again.",
    )


class DiscordSettings(BaseModel):
    """The Discord bot; it runs when a token is set."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: SecretStr = Field(
        default=SecretStr(""),
        description="Bot token from Discord's developer portal; empty (the default) leaves Discord out.",
    )
    api_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="REST base of a Discord-compatible server, such as http://127.0.0.1:3001/api/v10; empty "
        "(the default) is Discord itself.",
    )
    gateway_url: str = Field(
        default="",
        pattern=r"^(wss?://[^\s?#]+)?$",
        description="Gateway of a Discord-compatible server, such as ws://127.0.0.1:3002; empty (the "
        "default) takes the one that the API names.",
    )
    answer_bots: bool = Field(
        default=False, description="Whether other bots are answered; off, for two bots never stop talking."
    )
    operators: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_json_list)] = Field(
        default=(),
        description="Numbers of the Discord accounts that operate the bot: only they may start training, on "
        "any server. Empty (the default), whoever may manage a server may, although a run may change what "
        "serves every community. A JSON list in the environment.",
    )


class TelegramSettings(BaseModel):
    """The Telegram bot; it runs when a token is set."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: SecretStr = Field(
        default=SecretStr(""),
        description="Bot token from @BotFather; empty (the default) leaves Telegram out.",
    )
    api_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Base URL of a Bot API server, such as http://127.0.0.1:8081/bot; empty (the default) is "
        "Telegram itself.",
    )
    webhook_url: str = Field(
        default="",
        description="Public https URL under which Telegram reaches this machine; empty (the default) polls.",
    )
    webhook_host: str = Field(default="127.0.0.1", description="Address on which the webhook listens.")
    webhook_port: int = Field(default=8323, ge=0, le=65535, description="Port on which the webhook listens.")
    webhook_secret: SecretStr = Field(
        default=SecretStr(""),
        description="What Telegram must send along (A-Z, a-z, 0-9, _, -); empty derives it from the token.",
    )
    operators: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_json_list)] = Field(
        default=(),
        description="Numbers of the Telegram accounts that operate the bot: they may start training, and "
        "administer every chat and the private ones. A JSON list in the environment.",
    )

    @property
    def takes_webhook(self) -> bool:
        """Whether Telegram's updates come to a port of ours."""
        return bool(self.token.get_secret_value() and self.webhook_url)


class Settings(BaseSettings):
    """Everything Thumbloop can be told."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        dotenv_filtering="match_prefix",  # compose and others keep their lines in the same file
        toml_file=TOML_FILE,
        extra="forbid",
        hide_input_in_errors=True,
    )

    data: Annotated[Path, BeforeValidator(_folder)] = Field(
        default=Path("data"),
        description="Folder of everything Thumbloop keeps: database, models, adapters, datasets.",
    )
    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="Base model: the packaged default, a hub id such as Qwen/Qwen3-4B-Instruct-2507, or "
        "a folder.",
    )
    model_revision: str = Field(
        default="main", min_length=1, description="Revision of a hub model; a commit makes it repeatable."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="Where the model runs; auto takes cuda, then mps, then cpu."
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto",
        description="Precision of the weights; auto takes bf16 where the hardware computes in it.",
    )
    quantisation: ServingQuantisation = Field(
        default="auto",
        description="Weights of the answering model: none, 8bit or 4bit; by bitsandbytes, or on an x86-64 "
        "CPU by the compiled step where it is installed and knows the model. auto takes 8bit on a CPU where "
        "that is measured to be clearly faster, else none.",
    )
    thinking: Thinking = Field(
        default="template",
        description="Whether the model reasons before it answers, where its chat template has the switch "
        "`enable_thinking`, as Qwen3's does: on, off, or template, which leaves it to the template. For "
        "answering and training alike; with on, raise answering.max_new_tokens.",
    )
    persona: str = Field(
        default="decode-assistant",
        description="Persona of a community that has not chosen one: a packaged name or its text.",
    )
    mode: Mode = Field(default="default", description="Mode of an answer when none is asked for.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    record: RecordSettings = Field(default_factory=RecordSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    rollout: RolloutSettings = Field(default_factory=RolloutSettings)
    answering: AnsweringSettings = Field(default_factory=AnsweringSettings)
    knowledge: KnowledgeSettings = Field(default_factory=KnowledgeSettings)
    documents: DocumentSettings = Field(default_factory=DocumentSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    oidc: OidcSettings = Field(default_factory=OidcSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    remote: RemoteSettings = Field(default_factory=RemoteSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)
    logs: LogsSettings = Field(default_factory=LogsSettings)
    discord: DiscordSettings = Field(default_factory=DiscordSettings)
    telegram: TelegramSettings = Field(default_factory=TelegramSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments (tests, command-line options), environment, `.env`, `thumbloop.toml`."""
        return init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database_url(self) -> str:
        """The record's URL: the one set, or the SQLite file in the data folder."""
        return (
            self.record.database_url.get_secret_value()
            or f"sqlite:///{self.data.absolute() / 'thumbloop.db'}"
        )

    @property
    def passages_in_prompt(self) -> int:
        """Passages that go into the prompt at most: as set, or as the model can make use of."""
        return self.knowledge.passages or (1 if public_name(self.model) == public_name(DEFAULT_MODEL) else 3)

    @property
    def models_folder(self) -> Path:
        """Where converted and downloaded models lie."""
        return self.data / "models"

    @property
    def model_choice(self) -> ModelChoice:
        """The base model that answers and is trained on."""
        from training.model.base_model import ModelChoice

        return ModelChoice(
            name=self.model,
            models_folder=self.models_folder,
            revision=self.model_revision,
            device=self.device,
            precision=self.precision,
            repetition_penalty=self.answering.repetition_penalty,
            thinking=self.thinking,
        )


def load_settings(**overrides: Any) -> Settings:
    """Read the settings. Raises SettingsError naming the key, the value and what is allowed."""
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error.errors()[0]), DOCUMENTED) from None
    except UndecodableJson as error:  # it names the section; the text itself may hold a secret
        raise SettingsError(
            f"The settings cannot be read: {error}.",
            f"A whole section in one variable is a JSON object; single settings need none. {DOCUMENTED}",
        ) from None
    except (OSError, ValueError) as error:  # an unreadable .env or malformed TOML
        raise SettingsError(
            f"The settings cannot be read: {error}.", f"Check .env and {TOML_FILE}."
        ) from None


def without_credentials(text: str) -> str:
    """`text` with whatever stands for user and password in a URL masked, well-formed or not."""
    return _CREDENTIALS.sub("********@", text)


def _explain(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    variable = PREFIX + key.replace(".", "__").upper()
    if error["type"] == "extra_forbidden":
        # its value stays unsaid: it may be a secret under a mistyped name
        return f"The setting {key} ({variable}) does not exist; did you mean {_nearest(key)}?"
    shown = "" if _is_secret(key) else f" is {without_credentials(repr(error.get('input')))}, which"
    why = error["msg"].removeprefix("Value error, ")
    if "://" in error.get("ctx", {}).get("pattern", ""):  # the pattern of an address says little to people
        why = f"it takes: {(_fields()[key].description or '').partition(';')[0]}"
    return f"The setting {key} ({variable}){shown} is not allowed: {why}."


def _is_secret(key: str) -> bool:
    """Whether a value at `key` must not be shown: a secret, a part of one, or a section that holds one."""
    hidden = [name for name, field in _fields().items() if field.annotation is SecretStr or not field.repr]
    return any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in hidden)


def secret_values(settings: Settings) -> list[str]:
    """The values that logs and error texts must never show."""
    return [text for secret in _secrets(settings) if (text := secret.get_secret_value())]


def _secrets(section: BaseModel) -> Iterator[SecretStr]:
    for _, value in section:
        if isinstance(value, SecretStr):
            yield value
        elif isinstance(value, BaseModel):
            yield from _secrets(value)


def known_keys() -> list[str]:
    """Every setting as `section.field`, in the order of declaration."""
    return list(_fields())


def _fields(of: type[BaseModel] | None = None, prefix: str = "") -> dict[str, FieldInfo]:
    fields: dict[str, FieldInfo] = {}
    for name, field in (of or Settings).model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            fields |= _fields(section, f"{prefix}{name}.")
        else:
            fields[prefix + name] = field
    return fields


def _section_names() -> list[str]:
    """Every section, those within others as `training.hygiene`."""
    sections: dict[str, None] = {}
    for key in known_keys():
        names = key.split(".")
        sections |= {".".join(names[:depth]): None for depth in range(1, len(names))}
    return list(sections)


def _nearest(key: str) -> str:
    from difflib import get_close_matches

    of_adapter = re.fullmatch(r"(training\.adapters\.[^.]+\.)(.+)", key)
    if of_adapter:
        own = [*AdapterSettings.model_fields, *(TrainingSettings.model_fields.keys() - NOT_OF_ONE_ADAPTER)]
        return of_adapter[1] + get_close_matches(of_adapter[2], own, n=1, cutoff=0.0)[0]
    candidates = known_keys() if "." in key else [*known_keys(), *_section_names()]
    return (get_close_matches(key, candidates, n=1, cutoff=0.0) or ["data"])[0]


def _refuse_unknown_variables() -> None:
    # pydantic-settings ignores unknown variables of the environment, so a typing error would pass unseen
    known = {PREFIX + key.replace(".", "__").upper() for key in known_keys()}
    sections = {PREFIX + name.replace(".", "__").upper() for name in _section_names()}
    of_adapters = f"{PREFIX}TRAINING__ADAPTERS__"  # their names are free, and what follows is validated
    for variable in sorted(os.environ):
        if variable.upper().startswith(of_adapters):
            continue
        if variable.upper().startswith(PREFIX) and variable.upper() not in known | sections:
            key = variable[len(PREFIX) :].lower().replace("__", ".")
            nearest = PREFIX + _nearest(key).replace(".", "__").upper()
            raise SettingsError(
                f"The environment variable {variable} is not a setting.",
                f"Did you mean {nearest}? {DOCUMENTED}",
            )
