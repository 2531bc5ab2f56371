"""Puts an app behind a key by rag_app's own rules, as its own main.py does."""

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from rag_app.core.settings import RagSettings
from rag_app.main import guarded_by
from service_kit.errors import Unauthorized
from service_kit.failures import render
from service_kit.keys import KeyGuard

KEY = "ca-planted-7391"


def guard(app: FastAPI, key: str = KEY) -> FastAPI:
    """The app, which now asks for the key."""

    def refuse(error: Unauthorized) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await render(scope["path"], error)(scope, receive, send)

        return answer

    guarded = guarded_by(RagSettings(_env_file=None, rag_api_key=SecretStr(key)))
    app.add_middleware(KeyGuard, guarded=guarded, refuse=refuse)
    return app
