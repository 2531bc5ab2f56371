"""The language model, as LlamaIndex sees one: an OpenAILike whose failures are words of our table."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import openai
from llama_index.core.llms import ChatMessage, ChatResponse, ChatResponseAsyncGen
from llama_index.core.llms.llm import LLM
from llama_index.llms.openai.utils import to_openai_message_dicts
from llama_index.llms.openai_like import OpenAILike

from rag_app.clients.llm_stream import chunks, counts_of, delta_of
from rag_app.clients.llm_transport import AiohttpTransport
from rag_app.core.settings import RagSettings
from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable, Upstream

# A model that is down should be found out long before an answer's own deadline.
CONNECT_TIMEOUT_S = 5.0

# How much of a stranger's answer a message quotes.
_QUOTED_CHARS = 300


class GatewayLlm(OpenAILike):
    """OpenAILike with one deadline for a whole answer, the request id on every call, and our errors.

    achat and astream_chat fail with Unavailable (unreachable, 503), DeadlineExceeded, Overloaded (429) or Upstream
    (all else). Nothing is retried: the gateway owns retries. It reaches for no tokenizer and no hub.
    """

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The whole answer to a conversation, within `timeout` seconds."""
        async with self._failures_in_our_words(asyncio.get_running_loop().time() + self.timeout):
            return await super().achat(messages, **kwargs)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """The answer as it is written; the deadline is for all of it. Closing the generator ends the call."""
        deadline = asyncio.get_running_loop().time() + self.timeout
        stream = await super().astream_chat(messages, **kwargs)

        async def pieces() -> ChatResponseAsyncGen:
            try:
                while True:
                    # One timeout a piece: a timeout that spans a yield would cancel whoever consumes the piece.
                    try:
                        async with asyncio.timeout_at(deadline):
                            piece = await anext(stream)
                    except StopAsyncIteration:
                        return
                    except Exception as exc:
                        if (ours := self._in_our_words(exc)) is exc:
                            raise
                        raise ours from exc
                    yield piece
            finally:
                await stream.aclose()

        return pieces()

    async def _astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        # OpenAILike's own leaves the HTTP response to the cyclic garbage collector when its generator is closed: the
        # model went on writing for a client that had left.
        create = self._get_aclient().chat.completions.create

        async def gen() -> ChatResponseAsyncGen:
            asked: dict[str, Any] = {"messages": to_openai_message_dicts(messages, model=self.model)}
            text = ""
            stream = await create(**asked, **self._get_model_kwargs(stream=True, **kwargs))
            async with aclosing(chunks(stream.response)) as told:
                async for chunk in told:
                    delta = delta_of(chunk)
                    text += delta
                    yield ChatResponse(
                        message=ChatMessage(role="assistant", content=text),
                        delta=delta,
                        raw=chunk,
                        additional_kwargs=counts_of(chunk),
                    )

        return gen()

    async def acheck(self) -> None:
        """Ask for the list of models, which costs no tokens. Fails as achat does, and where there is no model."""
        async with self._failures_in_our_words(asyncio.get_running_loop().time() + self.timeout):
            listed = await self._get_aclient().models.list()
            # llm_service lists nothing and says which settings would change that; other servers have no such message.
            missing = (listed.model_extra or {}).get("message")
            is_empty = not listed.data
        if is_empty and missing:
            raise Unavailable(str(missing), retry_after_s=60)
        if is_empty:
            hint = "does LLM_URL, and the LLM_BASE_URL behind it, end in /v1?"
            raise Upstream(f"{self.api_base} lists no models; {hint}")

    async def aclose(self) -> None:
        """Close pooled connections; it cannot be called after that."""
        if self._async_http_client is not None:
            await self._async_http_client.aclose()

    @asynccontextmanager
    async def _failures_in_our_words(self, deadline: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(deadline):
                yield
        except Exception as exc:
            if (ours := self._in_our_words(exc)) is exc:
                raise
            raise ours from exc

    def _in_our_words(self, exc: Exception) -> Exception:
        """The failure by our table; `exc` itself where it is ours already, or nothing that is foreseen."""
        match exc:
            case TimeoutError() | openai.APITimeoutError() | httpx.TimeoutException():
                if isinstance(exc.__cause__, httpx.ConnectTimeout):
                    return self._unreachable()
                return DeadlineExceeded(
                    f"the language model did not answer within {self.timeout:g} s; see LLM_TIMEOUT_S"
                )
            case openai.APIStatusError():
                return _refused(exc)
            case openai.APIConnectionError():
                return self._unreachable()
            case openai.OpenAIError() | httpx.HTTPError():
                return Upstream(f"the language model broke off its answer ({type(exc).__name__})")
            case ValueError() | LookupError() | AttributeError() | TypeError():
                # The answer's fields are read unchecked: an answer of another shape ends here.
                return Upstream(f"the language model's answer has not the shape of OpenAI's ({type(exc).__name__})")
            case _:
                return exc

    def _unreachable(self) -> Unavailable:
        reason = f"the language model cannot be reached at {self.api_base}; start llm_service or set LLM_URL"
        return Unavailable(reason, retry_after_s=1)


def create_llm(settings: RagSettings) -> GatewayLlm:
    """The model behind LLM_URL. Nothing connects before the first call."""
    # As for every service that we call, a proxy of the environment is not asked.
    client = httpx.AsyncClient(trust_env=False, transport=AiohttpTransport(), event_hooks={"request": [_prepare]})
    return GatewayLlm(
        model=settings.llm_model,
        api_base=settings.llm_url,
        # OpenAI's client sends some key always.
        api_key="none" if settings.llm_api_key is None else settings.llm_api_key.get_secret_value(),
        is_chat_model=True,
        context_window=settings.llm_context_tokens,
        max_retries=0,
        timeout=settings.llm_timeout_s,
        # Facts are asked for, not variety.
        temperature=0.1,
        additional_kwargs={"stream_options": {"include_usage": True}},
        async_http_client=client,
    )


# What main.py takes for a model without knowing whose it is.
LanguageModel = LLM


async def check_llm(llm: LLM) -> None:
    """Fails with a ServiceError where no model answers behind a model of create_llm; another LLM is not asked."""
    if isinstance(llm, GatewayLlm):
        await llm.acheck()


async def close_llm(llm: LLM) -> None:
    """Close the connections of a model made by create_llm; another LLM has nothing to close here."""
    if isinstance(llm, GatewayLlm):
        await llm.aclose()


async def _prepare(request: httpx.Request) -> None:
    request.headers[REQUEST_ID_HEADER] = request_id.get()
    # openai's client gives every phase the deadline of the whole answer.
    limits = request.extensions["timeout"]
    request.extensions["timeout"] = {**limits, "connect": min(CONNECT_TIMEOUT_S, limits["connect"])}


def _refused(exc: openai.APIStatusError) -> ServiceError:
    # openai's client hands out the envelope's inside, where there is an envelope.
    told = exc.body.get("message") if isinstance(exc.body, dict) else None
    said = told if isinstance(told, str) else exc.response.text
    # What it says may quote the prompt: it is for this caller only.
    logged = f"the language model answered {exc.status_code}"
    message = f"{logged}: {said[:_QUOTED_CHARS]}"
    given = exc.response.headers.get("retry-after", "")
    retry_after_s = int(given) if given.isdigit() else 1
    match exc.status_code:
        case 429:
            return Overloaded(message, retry_after_s=retry_after_s, logged=logged)
        case 503:
            return Unavailable(message, retry_after_s=retry_after_s, logged=logged)
        case 504:
            return DeadlineExceeded(message, logged=logged)
        case _:
            return Upstream(message, logged=logged)
