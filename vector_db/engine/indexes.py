"""Payload indexes: from the wire to Edge."""

from typing import Any

import qdrant_edge as edge
from qdrant_client.http import models

from vector_db.core.errors import NotSupported
from vector_db.engine.shapes import refuse_set

_TOKENIZERS = {
    models.TokenizerType.PREFIX: edge.TokenizerType.Prefix,
    models.TokenizerType.WHITESPACE: edge.TokenizerType.Whitespace,
    models.TokenizerType.WORD: edge.TokenizerType.Word,
    models.TokenizerType.MULTILINGUAL: edge.TokenizerType.Multilingual,
    models.TokenizerType.CODE: edge.TokenizerType.Code,
}


def read_index(field: str, described: Any) -> models.PayloadSchemaParams:
    """Index parameters from their JSON form."""
    schema = models.CreateFieldIndex(field_name=field, field_schema=described).field_schema
    assert schema is not None
    return index_params(schema)


def index_params(schema: models.PayloadFieldSchema) -> models.PayloadSchemaParams:
    """The full parameters of an index that is asked for by its type's name or by parameters."""
    if not isinstance(schema, models.PayloadSchemaType):
        return schema
    match schema:
        case models.PayloadSchemaType.KEYWORD:
            return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD)
        case models.PayloadSchemaType.INTEGER:
            return models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER)
        case models.PayloadSchemaType.FLOAT:
            return models.FloatIndexParams(type=models.FloatIndexType.FLOAT)
        case models.PayloadSchemaType.BOOL:
            return models.BoolIndexParams(type=models.BoolIndexType.BOOL)
        case models.PayloadSchemaType.DATETIME:
            return models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME)
        case models.PayloadSchemaType.UUID:
            return models.UuidIndexParams(type=models.UuidIndexType.UUID)
        case models.PayloadSchemaType.TEXT:
            return models.TextIndexParams(type=models.TextIndexType.TEXT)
        case models.PayloadSchemaType.GEO:
            raise NotSupported("a geo index")


def edge_index(params: models.PayloadSchemaParams) -> Any:
    """Edge's form of an index; fails with NotSupported, naming the part.

    enable_hnsw is off unless asked for: extra graph edges for text and paths cost much to build and speed up nothing.
    """
    refuse_set(params, ("nested",))
    match params:
        case models.KeywordIndexParams():
            return edge.KeywordIndexParams(
                is_tenant=params.is_tenant, prefix=params.prefix, enable_hnsw=bool(params.enable_hnsw)
            )
        case models.IntegerIndexParams():
            return edge.IntegerIndexParams(
                lookup=params.lookup, range=params.range, is_principal=params.is_principal, enable_hnsw=False
            )
        case models.FloatIndexParams():
            return edge.FloatIndexParams(is_principal=params.is_principal, enable_hnsw=False)
        case models.BoolIndexParams():
            return edge.BoolIndexParams(enable_hnsw=False)
        case models.DatetimeIndexParams():
            return edge.DatetimeIndexParams(is_principal=params.is_principal, enable_hnsw=False)
        case models.UuidIndexParams():
            return edge.UuidIndexParams(is_tenant=params.is_tenant, enable_hnsw=False)
        case models.TextIndexParams():
            return _text_index(params)
        case _:
            raise NotSupported("a geo index")


def _text_index(params: models.TextIndexParams) -> edge.TextIndexParams:
    refuse_set(params, ("stopwords", "stemmer", "scoring"))
    return edge.TextIndexParams(
        tokenizer=_TOKENIZERS[params.tokenizer] if params.tokenizer is not None else None,
        min_token_len=params.min_token_len,
        max_token_len=params.max_token_len,
        lowercase=params.lowercase,
        ascii_folding=params.ascii_folding,
        phrase_matching=params.phrase_matching,
        enable_hnsw=False,
    )
