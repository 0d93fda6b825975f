"""The Answerer on the other side of HTTP: any OpenAI-compatible server, and what vLLM adds to that.

Tokens are counted with the base model's own tokenizer when its files are on this machine, as they are
wherever adapters are trained. Otherwise a prompt counts one token for every `BYTES_A_TOKEN` bytes, which
is rather too many than too few; the last word is the server's. No weights are ever loaded here.
Leaves to others: HTTP, retries and faults (`model_server.py`), adapters on the server (`server_adapters.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import structlog

from bot.answering.answerer import AdapterFiles, AnswerRequest, FinishReason, Message, Piece, Usage
from bot.answering.engine.text import StopStrings
from bot.answering.model_server import VLLM, Broken, Chunk, ModelServer, Refused
from bot.answering.reasoning import set_apart
from bot.answering.server_adapters import ServerAdapters, name_of
from bot.answering.token_budget import cannot_fit, characters_of, off_loop_if_long
from bot.errors import AdapterRefused, AnsweringError, PromptTooLong
from bot.settings import RemoteSettings, Settings
from feedback.errors import SettingsError
from training.errors import ConversationRefused
from training.settings import Thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BYTES_A_TOKEN: Final = 2
TOKENS_A_MESSAGE: Final = 8
"""What a chat template writes around a message, about; only where no tokenizer is at hand."""
MOST_STOPS: Final = 4
"""Stop strings that OpenAI's protocol takes, and vLLM with it; those beyond are looked for here."""
TOKENIZER: Final = "tokenizer_config.json"
"""Without it transformers reads no tokenizer."""

_NEUTRAL: Final[Mapping[str, Mapping[str, float]]] = {
    VLLM: {"top_k": -1, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "thumbloop": {},
}
"""By whose server it is, what is said beside `Sampling`. Unsaid, vLLM would take the model's own defaults
(generation_config.json). Both take `repetition_penalty` too; others refuse what OpenAI's protocol lacks."""

_PROMPT_TOKENS = re.compile(
    r"(?:contains (?:at least )?|resulted in |\()(\d+)(?: input)? (?:tokens|in the messages)"
)

log = structlog.get_logger(__name__)


async def open_remote(settings: Settings) -> RemoteAnswerer:
    """The server that `settings.remote` names.

    Raises SettingsError when it cannot serve as set, AnsweringFailed when it cannot be reached.
    """
    answerer = RemoteAnswerer(
        settings.remote,
        name=base_model_name(settings),
        revision="" if Path(settings.model).expanduser().is_dir() else settings.model_revision,
        tokenizer=await asyncio.to_thread(_tokenizer_at_hand, settings),
        thinking=settings.thinking,
    )
    try:
        await answerer.connect()
    except BaseException:  # also when cancelled: nobody else closes its connections
        await answerer.close()
        raise
    return answerer


def base_model_name(settings: Settings) -> str:
    """What turns and adapters call the base model: a folder goes by its own name, as in training."""
    folder = Path(settings.model).expanduser()
    return folder.resolve().name if folder.is_dir() else settings.model


class RemoteAnswerer:
    """Streams answers from a server; `connect` before the first question.

    `name` and `revision` are what turns record of the base model; `served_base` is what the server calls it,
    and `owner` whose software it says it is. `tokenizer` None counts by estimate.
    `thinking` is what the server's chat template is told of reasoning; "template" tells it nothing.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        name: str,
        revision: str = "",
        tokenizer: PreTrainedTokenizerBase | None = None,
        thinking: Thinking = "template",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_model = name
        self.base_revision = revision
        self.context_tokens = settings.context_tokens
        self._settings = settings
        self.served_base = settings.model
        self.owner = ""
        self._tokenizer = tokenizer
        self._thinking = thinking
        self.opens_reasoning = False
        if tokenizer is not None:
            from training.model.chat_format import opens_reasoning

            self.opens_reasoning = opens_reasoning(tokenizer)
        self._server = ModelServer(settings, sleep=sleep, clock=clock)
        self._adapters = ServerAdapters(self._server, settings)

    async def connect(self) -> None:
        """Ask the server what it serves. Raises SettingsError when it isn't as set; AnsweringFailed."""
        cards = await self._server.models()
        bases = {card["id"]: card for card in cards if not card.get("parent")}
        wanted = self._settings.model or (self.base_model if self.base_model in bases else "")
        if not wanted and len(bases) == 1:
            wanted = next(iter(bases))
        if wanted not in bases:
            raise SettingsError(
                f"The model server lists {', '.join(bases) or 'no model'}, "
                + (f"and not {wanted}." if wanted else f"and none is called {self.base_model}."),
                "Set THUMBLOOP_REMOTE__MODEL to the one that is the base model.",
            )
        self.served_base = wanted
        self.owner = str(bases[wanted].get("owned_by", ""))
        self.context_tokens = self._settings.context_tokens or bases[wanted].get("max_model_len") or 0
        if not self.context_tokens:
            raise SettingsError(
                f"The model server does not say how many tokens {wanted} takes.",
                "Set THUMBLOOP_REMOTE__CONTEXT_TOKENS.",
            )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` make, as `Answerer`; an estimate without a tokenizer."""
        if self._tokenizer is not None:
            from training.model.chat_format import prompt_token_ids

            return len(prompt_token_ids(self._tokenizer, messages))
        said = sum(len(message["content"].encode()) // BYTES_A_TOKEN + 1 for message in messages)
        return said + TOKENS_A_MESSAGE * (len(messages) + 1)

    @set_apart
    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Answer `request` piece by piece; closing the iterator closes the stream, and so ends the work."""
        started = time.perf_counter()
        if cannot_fit(request.messages, self.context_tokens):
            raise PromptTooLong(None, self.context_tokens - 1)
        characters = characters_of(request.messages)
        body = await off_loop_if_long(characters, partial(self._body, request))
        stops = StopStrings(request.sampling.stop[MOST_STOPS:])
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._under_way(request.adapter))
            chunk, chunks = await self._begin(request, body, stack)
            first, pieces = time.perf_counter(), 0
            finish: FinishReason | None = None
            usage: dict[str, Any] | None = None
            at_end_token = False
            said: list[str] = []
            while chunk is not None:
                finish, usage = chunk.finish or finish, chunk.usage or usage
                at_end_token = at_end_token or (chunk.finish == "stop" and not chunk.at_stop_string)
                pieces += bool(chunk.text or chunk.reasoning)
                if chunk.reasoning:
                    said.append(chunk.reasoning)
                    yield Piece("", reasoning=chunk.reasoning)
                text = stops.add(chunk.text) + (stops.flush() if chunk.finish else "")
                if text:
                    said.append(text)
                    yield Piece(text)
                if stops.hit:
                    finish, usage = "stop", None  # the server's count comes at an end that is not waited for
                    break
                chunk = await self._server.next(chunks)
            if self._server.closed:
                finish = "cancelled"
            if finish is None:
                raise self._server.broke_off()
            prompt_tokens: int = (usage or {}).get("prompt_tokens") or 0
            if not prompt_tokens:
                prompt_tokens = await off_loop_if_long(
                    characters, partial(self.count_tokens, request.messages)
                )
            yield Piece(
                "",
                Usage(
                    prompt_tokens,
                    self._answer_tokens(usage, said, pieces, at_end_token),
                    first - started,
                    time.perf_counter() - started,
                    finish,
                ),
            )

    async def load(self, adapter: AdapterFiles) -> None:
        """Make `adapter` ready before its first question. Raises AdapterRefused with the reason."""
        await self._adapters.load(adapter)

    async def unload(self, adapter: AdapterFiles) -> None:
        """Give the adapter's memory back once no answer under way uses it."""
        await self._adapters.unload(adapter)

    async def check(self) -> None:
        """Raise AnsweringFailed, saying why, when no answer can be given now.

        A server that was restarted meanwhile gets its adapters again.
        """
        await self._adapters.load_forgotten(await self._server.models())

    async def close(self) -> None:
        """Cancel what is under way and let the server go."""
        await self._server.close()

    def _body(self, request: AnswerRequest) -> dict[str, Any]:
        sampling = request.sampling
        messages: Sequence[Mapping[str, Any]] = request.messages
        room = sampling.max_new_tokens
        if self._tokenizer is not None:
            from training.model.chat_format import accepted

            tokens = self.count_tokens(request.messages)
            room = min(room, self.context_tokens - tokens)
            if room < 1:
                raise PromptTooLong(tokens, self.context_tokens - 1)
            messages = accepted(self._tokenizer, messages)
        body: dict[str, Any] = {
            "model": name_of(request.adapter) if request.adapter else self.served_base,
            "messages": [dict(message) for message in messages],
            "max_tokens": room,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
            **_NEUTRAL.get(self.owner, {}),
        }
        if self._thinking != "template":
            body["chat_template_kwargs"] = {"enable_thinking": self._thinking == "on"}
        if sampling.stop:
            body["stop"] = list(sampling.stop[:MOST_STOPS])
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if self.owner in _NEUTRAL or sampling.repetition_penalty != 1.0:
            body["repetition_penalty"] = sampling.repetition_penalty
        return body

    async def _begin(
        self, request: AnswerRequest, body: dict[str, Any], stack: contextlib.AsyncExitStack
    ) -> tuple[Chunk | None, AsyncGenerator[Chunk, None]]:
        """Put the question until its first token is here; the open stream is left to `stack`.

        What the server's chat template refuses is arranged as stricter templates take it.
        """
        from training.model.chat_format import arrangements

        refusal: Refused | None = None
        for arranged in arrangements(body["messages"]):
            try:
                return await self._put(request, {**body, "messages": arranged}, stack)
            except Broken as broken:
                raise self._server.answering_error(broken) from broken
            except Refused as refused:
                if not refused.is_of_the_template:
                    raise self._answering_error(refused, request) from refused
                refusal = refused
        assert refusal is not None, "there is always one arrangement"
        raise ConversationRefused(refusal.message) from refusal

    async def _put(
        self, request: AnswerRequest, body: dict[str, Any], stack: contextlib.AsyncExitStack
    ) -> tuple[Chunk | None, AsyncGenerator[Chunk, None]]:
        """Put the question as `body` says it. Raises Broken, Refused."""
        if request.adapter is not None:
            await self.load(request.adapter)
        try:
            return await self._server.retried(lambda: self._server.open(body, stack))
        except Refused as refused:
            if request.adapter is None or refused.status != httpx.codes.NOT_FOUND:
                raise
            # restarted since, the server has forgotten what was loaded at run time
            self._adapters.forget(request.adapter)
            await self.load(request.adapter)
            return await self._server.retried(lambda: self._server.open(body, stack))

    @contextlib.contextmanager
    def _under_way(self, adapter: AdapterFiles | None) -> Iterator[None]:
        self._server.answers_under_way += 1
        try:
            with self._adapters.in_use(adapter):
                yield
        finally:
            self._server.answers_under_way -= 1

    def _answer_tokens(
        self, usage: dict[str, Any] | None, said: Sequence[str], pieces: int, at_end_token: bool
    ) -> int:
        """Tokens of the answer: the server's count, else the tokenizer's, else one a piece.

        vLLM counts the end token, which the engine in this process does not.
        """
        if usage and (counted := usage.get("completion_tokens")):
            return int(counted) - (at_end_token and self.owner == VLLM)
        if self._tokenizer is None:
            return pieces
        return len(self._tokenizer("".join(said), add_special_tokens=False)["input_ids"])

    def _answering_error(self, refused: Refused, request: AnswerRequest) -> AnsweringError:
        """The error that the asker sees; the server's own words go to the log."""
        if refused.is_about_length:
            count = _PROMPT_TOKENS.search(refused.message)
            tokens = int(count[1]) if count else self.count_tokens(request.messages)
            return PromptTooLong(max(tokens, self.context_tokens), self.context_tokens - 1)
        if request.adapter is not None and refused.status == httpx.codes.NOT_FOUND:
            log.warning("the model server refused", status=refused.status, reason=refused.message)
            return AdapterRefused(request.adapter.version, "the model server does not know it")
        return self._server.answering_error(refused)


def _tokenizer_at_hand(settings: Settings) -> PreTrainedTokenizerBase | None:
    """The base model's tokenizer if its files are on this machine; nothing is fetched for it."""
    from training.model.names import DEFAULT_MODEL

    place = str(settings.models_folder / DEFAULT_MODEL) if settings.model == DEFAULT_MODEL else settings.model
    if not _has_tokenizer(place, settings.model_revision):
        log.warning("no tokenizer of the base model is on this machine; prompts are counted by estimate")
        return None
    from transformers import AutoTokenizer

    from training.model.chat_format import set_thinking

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place, revision=settings.model_revision, local_files_only=True
        )
    except (OSError, ValueError) as error:
        log.warning(
            "the base model's tokenizer cannot be read; prompts are counted by estimate", reason=str(error)
        )
        return None
    if not tokenizer.chat_template:
        return None
    set_thinking(tokenizer, settings.thinking)
    return tokenizer


def _has_tokenizer(model: str, revision: str) -> bool:
    """Whether that folder or the hub's cache holds a tokenizer. Asked first, for reading one loads torch."""
    from huggingface_hub import try_to_load_from_cache

    from training.model.names import is_hub_name

    if (folder := Path(model).expanduser()).is_dir():
        return (folder / TOKENIZER).is_file()
    return is_hub_name(model) and isinstance(try_to_load_from_cache(model, TOKENIZER, revision=revision), str)
