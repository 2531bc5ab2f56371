"""A provider that says what a script tells it, at a stated pace: for tests and load, and only where it is named."""

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from llm_service.core.errors import Refused
from llm_service.providers.base import Answer, AttemptFailed, Call, Fault, Provider
from llm_service.providers.paced import PacedStream, Step, WholeAnswer, wait
from llm_service.providers.refusals import Complaint, read_complaint
from llm_service.providers.scripted import requests as requests
from llm_service.providers.scripted import shapes as shapes
from llm_service.providers.scripted.answers import Said, say
from llm_service.providers.scripted.script import (
    DETOKENIZE,
    EMBEDDINGS,
    MODELS,
    TEXT_ROUTES,
    TOKENIZE,
    VERSION,
    Rule,
    Script,
)
from llm_service.providers.scripted.shapes import Shape, unit_vector
from llm_service.providers.scripted.tokens import token_count, token_id, tokens_of
from service_kit.errors import DeadlineExceeded, NotFound, Unavailable, Upstream

_NO_RULE = Rule()

# As long as a real server is given for its list of models.
PROBE_TIMEOUT_S = 5.0

# 4xx that say something about the server, not the request.
_BACKENDS_FAULT = frozenset({401, 403, 408, 429})


def scripted_provider(script: Script) -> Provider:
    """A provider that plays the script from its beginning."""
    return _Scripted(script)


class _Scripted:
    """What it remembers is how often each rule has answered, for `times`."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._answered: Counter[int] = Counter()
        self._fingerprint = script.fingerprint
        self._routes = {EMBEDDINGS: self._embeddings, TOKENIZE: self._tokenize, DETOKENIZE: self._detokenize}

    @property
    def address(self) -> str:
        return f"the script {self._fingerprint}"

    async def models(self) -> tuple[dict[str, Any], ...]:
        try:
            await self._probed(MODELS)
        except NotFound:
            return ()
        return shapes.models_list(self._script.models, self._script.max_model_len)

    async def fetch(self, path: str) -> bytes:
        if path != VERSION:
            raise NotFound(f"{self.address} has no {path}")
        rule = await self._probed(path)
        return orjson.dumps({"version": self._fingerprint}) if rule.body is None else self._raw_body(rule)

    async def close(self) -> None:
        """Nothing is held."""

    async def send(self, call: Call) -> Answer:
        began = _now()
        deadline = call.first_by if call.is_stream else call.expires_at
        if call.path not in TEXT_ROUTES and call.path not in self._routes:
            requests.refuse(f"Invalid URL (POST {call.path})", code="unknown_url", status=404)
        request = requests.parse(call.body)
        rule = self._rule_for(call.path, request, is_stream=call.is_stream)
        if rule.status is not None or rule.body is not None:
            await self._begin(rule, call.path, began, deadline)
            return WholeAnswer(self._raw_body(rule))
        # What is wrong with a request is told at once, as servers do: the pace is the model's.
        if (route := self._routes.get(call.path)) is not None:
            body = route(request)
            await self._begin(rule, call.path, began, deadline)
            return WholeAnswer(body)
        asked = requests.read_texts(call.path, request, self._script.models, self._script.max_model_len)
        shape = Shape(asked, hashlib.blake2b(call.body, digest_size=12).hexdigest(), self._fingerprint)
        said = say(self._script, rule, asked)
        await self._begin(rule, call.path, began, deadline)
        if call.is_stream:
            return await self._stream(self._steps(rule, shape, said), began, deadline)
        await self._speak(rule, said, began, deadline)
        return WholeAnswer(shape.whole(said))

    async def _probed(self, path: str) -> Rule:
        """The rule for a GET, unless it fails as the protocol has it: with NotFound, AttemptFailed or Upstream."""
        rule, began = self._rule_for(path, {}, is_stream=False), _now()
        try:
            await self._begin(rule, path, began, began + PROBE_TIMEOUT_S)
        except DeadlineExceeded as exc:
            raise AttemptFailed(exc, Fault.DOWN) from exc
        except Refused as exc:
            if exc.status in {404, 405}:
                raise NotFound(f"{self.address} has no {path}") from exc
            logged = f"{self.address} answered {exc.status} on {path}"
            raise Upstream(f"{logged}: {exc.message}", logged=logged) from exc
        return rule

    def _rule_for(self, path: str, request: dict[str, Any], *, is_stream: bool) -> Rule:
        """The first rule that matches and is not used up; counts its use."""
        if not self._script.rules:
            return _NO_RULE
        model, text = str(request.get("model")), requests.last_said(request)
        for i, rule in enumerate(self._script.rules):
            if rule.times and self._answered[i] >= rule.times:
                continue
            if rule.is_for(path, model, text, is_stream=is_stream):
                self._answered[i] += 1
                return rule
        return _NO_RULE

    async def _begin(self, rule: Rule, path: str, began: float, deadline: float) -> None:
        """The time up to the first byte, and what may go wrong in it."""
        # The script's own pace is that of texts: what needs no model is there at once.
        first_s = self._pace(rule)[0] if path in TEXT_ROUTES else rule.first_token_s or 0.0
        first_s = math.inf if rule.silent_after == 0 else first_s
        await wait(began, first_s, deadline, self.address)
        if rule.breaks_off_after == 0:
            raise AttemptFailed(self._broken(), Fault.DOWN)
        if rule.status is not None:
            raise _failure(rule, rule.status, self.address)

    async def _speak(self, rule: Rule, said: list[Said], began: float, deadline: float) -> None:
        """The time that a whole answer takes after its first token, and how it may end."""
        first_s, between_s = self._pace(rule)
        count = max(len(one.pieces) for one in said) if rule.ends_after is None else rule.ends_after
        due_s = first_s + max(0, count - 1) * between_s
        await wait(began, due_s if rule.silent_after is None else math.inf, deadline, self.address)
        if rule.breaks_off_after is not None:
            raise AttemptFailed(self._broken(), Fault.DOWN)
        if rule.cut_after is not None:
            raise Upstream(f"{self.address} answered 200 with something that is not a JSON object")

    async def _stream(self, steps: Iterator[Step], began: float, deadline: float) -> Answer:
        due_s, first = next(steps, (0.0, b""))
        await wait(began, due_s, deadline, self.address)
        if not isinstance(first, bytes):
            raise AttemptFailed(first, Fault.DOWN)
        if not first:
            raise AttemptFailed(Upstream(f"{self.address} ended its stream before the first byte"), Fault.DOWN)
        return PacedStream(first, steps, began)

    def _steps(self, rule: Rule, shape: Shape, said: list[Said]) -> Iterator[Step]:
        """One event a step. The roles come with the first token and the end with the last, as servers send them."""
        due_s, between_s = self._pace(rule)
        for event in shape.roles(said):
            yield due_s, event
        for i, tick in enumerate(islice(shape.tokens(said), rule.ends_after)):
            due_s += between_s if i else 0.0
            for event in tick:
                yield due_s, event
        if rule.silent_after is not None:
            yield math.inf, b""
        elif rule.breaks_off_after is not None:
            yield due_s, self._broken()
        elif rule.cut_after is None:
            for event in shape.ending(said):
                yield due_s, event

    def _pace(self, rule: Rule) -> tuple[float, float]:
        """Seconds to the first token and between two."""
        script = self._script
        first_s = script.first_token_s if rule.first_token_s is None else rule.first_token_s
        return first_s, script.between_tokens_s if rule.between_tokens_s is None else rule.between_tokens_s

    def _broken(self) -> Upstream:
        return Upstream(f"{self.address} broke off")

    def _raw_body(self, rule: Rule) -> bytes:
        if isinstance(rule.body, str):
            try:
                requests.parse(rule.body.encode())
            except Refused as exc:
                told = f"{self.address} answered 200 with something that is not a JSON object"
                raise Upstream(told) from exc
            return rule.body.encode()
        return orjson.dumps(rule.body)

    def _embeddings(self, request: dict[str, Any]) -> bytes:
        model = requests.model_of(request, self._script.models)
        texts = requests.texts_in(request, "input")
        dimensions = requests.dimensions_in(request) or self._script.dimensions
        counts = [token_count(text) for text in texts]
        requests.check_window(max(counts), 0, self._script.max_model_len, "input")
        vectors = [unit_vector(text, dimensions) for text in texts]
        is_base64 = request.get("encoding_format") == "base64"
        return shapes.embeddings(model, vectors, sum(counts), is_base64=is_base64)

    def _tokenize(self, request: dict[str, Any]) -> bytes:
        is_chat = request.get("messages") is not None
        text = requests.chat_prompt(request) if is_chat else "".join(requests.texts_in(request, "prompt"))
        ids = [token_id(token) for token in tokens_of(text)]
        return orjson.dumps({"count": len(ids), "max_model_len": self._script.max_model_len, "tokens": ids})

    def _detokenize(self, request: dict[str, Any]) -> bytes:
        return orjson.dumps({"prompt": requests.text_of_ids(request.get("tokens"), "tokens")})


def _failure(rule: Rule, status: int, address: str) -> Exception:
    """What a server's answer with this status means to the pool."""
    told = rule.error if rule.error is not None else f"the script says {status}"
    complaint = read_complaint(told.encode() if isinstance(told, str) else orjson.dumps(told))
    retry_after_s = rule.retry_after_s
    told_s = None if retry_after_s is None else math.ceil(retry_after_s)
    if 400 <= status < 500 and status not in _BACKENDS_FAULT:
        return _refused(status, complaint, told_s)
    logged = f"{address} answered {status}"
    message = f"{logged}: {complaint.message}"
    if status in {401, 403}:
        return AttemptFailed(Upstream(f"{address} refused the key ({status})"), Fault.KEY)
    if status == 429:
        return AttemptFailed(_refused(status, complaint, told_s), Fault.BUSY, retry_after_s)
    failure = (
        Unavailable(message, retry_after_s=told_s or 1, logged=logged)
        if status == 503
        else Upstream(message, retry_after_s=told_s, logged=logged)
    )
    return AttemptFailed(failure, Fault.DOWN, retry_after_s)


def _refused(status: int, complaint: Complaint, retry_after_s: int | None) -> Refused:
    fields = {"type": complaint.type, "param": complaint.param, "code": complaint.code}
    return Refused(status, complaint.message, retry_after_s=retry_after_s, **fields)


def _now() -> float:
    return asyncio.get_running_loop().time()
