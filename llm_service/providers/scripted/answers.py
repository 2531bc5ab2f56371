"""What is said to a valid request, before it gets a shape: by a rule, or in words derived from the request. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from llm_service.providers.scripted.requests import Asked
from llm_service.providers.scripted.script import Rule, Script
from llm_service.providers.scripted.tokens import pieces_of, token_count

# 64 words of at most five letters: each is one token, so that so many words are so many tokens.
_VOCABULARY = (
    "add all and any args as at bool build by byte call class code data def dict do else empty error false field file "
    "find first float for from get has if in index int is item its key last len line list load lock name new no node "
    "none not of on or path read send set size sort str text token true"
)
_WORDS = _VOCABULARY.split()


@dataclass(frozen=True, slots=True)
class Said:
    """One choice. pieces: the text, a token each; empty where `fields`, raw fields of the message, is what is said."""

    pieces: list[str]
    fields: dict[str, Any] | None
    finish_reason: str
    token_count: int


def say(script: Script, rule: Rule, asked: Asked) -> list[Said]:
    """All choices of a request, those of the first prompt first."""
    said = []
    for prompt in asked.prompts:
        for choice in range(asked.n):
            if (fields := _fields(rule, prompt, choice)) is not None:
                said.append(_raw(rule, fields))
            else:
                said.append(_text(script, rule, asked, _wording(script, rule, asked, prompt, choice)))
    return said


def _fields(rule: Rule, prompt: str, choice: int) -> dict[str, Any] | None:
    if rule.message is not None:
        return rule.message
    if rule.tool_calls is None:
        return None
    calls = []
    for i, call in enumerate(rule.tool_calls):
        told = call.arguments if isinstance(call.arguments, str) else orjson.dumps(call.arguments).decode()
        name = hashlib.blake2b(f"{prompt}\n{choice}\n{i}".encode(), digest_size=12).hexdigest()
        calls.append({"id": f"call_{name}", "type": "function", "function": {"name": call.name, "arguments": told}})
    return {"tool_calls": calls}


def _raw(rule: Rule, fields: dict[str, Any]) -> Said:
    """Neither `stop` nor `max_tokens` cuts what a script gives raw."""
    finish_reason = rule.finish_reason or ("tool_calls" if "tool_calls" in fields else "stop")
    return Said([], fields, finish_reason, token_count(orjson.dumps(fields).decode()))


def _wording(script: Script, rule: Rule, asked: Asked, prompt: str, choice: int) -> str:
    if isinstance(rule.say, str):
        return rule.say
    if rule.say is not None:
        return rule.say[choice % len(rule.say)]
    count = script.say_tokens if rule.say_tokens is None else rule.say_tokens
    seed = f"{asked.model}\n{asked.seed}\n{choice}\n{prompt}".encode()
    return " ".join([_WORDS[byte & 63] for byte in hashlib.shake_128(seed).digest(count)])


def _text(script: Script, rule: Rule, asked: Asked, text: str) -> Said:
    """Cut at the first stop sequence, which is not said itself, and after max_tokens."""
    ends = [end for stop in asked.stops if stop and (end := text.find(stop)) >= 0]
    if ends:
        text = text[: min(ends)]
    pieces = pieces_of(text, script.token_chars if rule.token_chars is None else rule.token_chars)
    finish_reason = rule.finish_reason or "stop"
    if len(pieces) > asked.max_tokens:
        pieces, finish_reason = pieces[: asked.max_tokens], "length"
    return Said(pieces, None, finish_reason, len(pieces))
