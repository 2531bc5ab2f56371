"""The yardstick: what a person would write in twenty lines of FastAPI and SentenceTransformers, nothing set."""

import os
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
# Without it 40 threads of the endpoint run torch at once, and 64 clients cost 145 CPU-ms a query in place of 24.
lock = threading.Lock()
model = SentenceTransformer(os.environ["NAIVE_MODEL"], device="cpu")


class Texts(BaseModel):
    """The texts to embed."""

    inputs: list[str]


@app.post("/embed")
def embed(texts: Texts) -> Any:
    """Their vectors."""
    with lock:
        return model.encode(texts.inputs, batch_size=32, normalize_embeddings=True).tolist()


@app.get("/health")
def health() -> dict[str, str]:
    """It runs."""
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["NAIVE_PORT"]), access_log=False)
