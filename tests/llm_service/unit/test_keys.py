"""Keys of our own: which file is good, who is let in, and that no key shows."""

import logging
import traceback
from hashlib import sha256
from pathlib import Path

import pytest

from llm_service.admission.keys import Key, KeyRing, digest_of, new_key, watched_keys
from llm_service.core.envelope import openai_envelope
from service_kit.errors import Unauthorized

PATH = Path("keys.toml")
PLANTED = "ca-PLANTEDplantedPLANTEDplantedPLANTEDplanted0123"[:46]


def stanza(name: str = "ci", key: str = "ca-one", more: str = "") -> str:
    return f'[[key]]\nname = "{name}"\nsha256 = "{sha256(key.encode()).hexdigest()}"\n{more}\n'


def ring(text: str) -> KeyRing:
    return KeyRing.parse(text.encode(), PATH)


def test_a_key_of_the_file_is_found_with_its_limits() -> None:
    limits = "requests_per_minute = 60\ntokens_per_minute = 100000"
    found = ring(stanza("ci", "ca-one", limits) + stanza("dev", "ca-two")).find(b"Bearer ca-one")
    assert (found.name, found.requests_per_minute, found.tokens_per_minute) == ("ci", 60, 100_000)


def test_a_key_without_limits_has_none() -> None:
    found = ring(stanza()).find(b"Bearer ca-one")
    assert (found.requests_per_minute, found.tokens_per_minute) == (None, None)


@pytest.mark.parametrize("header", [b"bearer ca-one", b"BEARER ca-one", b"Bearer   ca-one "])
def test_the_scheme_is_read_as_http_reads_it(header: bytes) -> None:
    assert ring(stanza()).find(header).name == "ci"


def test_hashes_may_be_written_in_capitals() -> None:
    text = f'[[key]]\nname = "ci"\nsha256 = "{sha256(b"ca-one").hexdigest().upper()}"'
    assert ring(text).find(b"Bearer ca-one").name == "ci"


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"ca-one", b"Basic Y2E6b25l", b"Bearer " + b"a" * 65_536])
def test_who_shows_no_key_is_told_how_to(header: bytes | None) -> None:
    with pytest.raises(Unauthorized, match="Authorization: Bearer YOUR_KEY") as failed:
        ring(stanza()).find(header)
    assert failed.value.status == 401


@pytest.mark.parametrize(
    "key", [b"ca-two", b"ca-on", b"ca-one1", b"CA-ONE", b"", b"\xff\xfe", digest_of("ca-one").hex().encode()]
)
def test_a_wrong_key_is_refused(key: bytes) -> None:
    with pytest.raises(Unauthorized, match="Incorrect API key provided"):
        ring(stanza()).find(b"Bearer " + key)


def test_a_digest_that_only_begins_alike_is_refused() -> None:
    digest = digest_of("ca-one")
    alike = KeyRing([Key("ci", digest[:8] + bytes(24))])
    with pytest.raises(Unauthorized):
        alike.find(b"Bearer ca-one")


def test_the_refusal_is_openais() -> None:
    for header in (None, b"Bearer wrong"):
        with pytest.raises(Unauthorized) as failed:
            ring(stanza()).find(header)
        error = openai_envelope("/v1/models", failed.value)["error"]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_api_key", None)


def test_an_empty_file_lets_nobody_in() -> None:
    """The last key was taken away: that must not be a fault by which the old file stays in force."""
    nobody = ring("# all keys revoked\n")
    assert nobody.keys == ()
    with pytest.raises(Unauthorized):
        nobody.find(b"Bearer ca-one")


SHA = "0" * 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[key]\nname = 1", r"keys.toml is not TOML: .*line 1, column"),
        (stanza() + stanza("dev", "ca-two", "colour = 1"), r"keys.toml, key 2 \(line 5\): `colour` is unknown"),
        (f'[[keys]]\nname = "ci"\nsha256 = "{SHA}"', r"keys.toml: `keys` is unknown; a key is a table \[\[key\]\]"),
        (f'[key]\nname = "ci"\nsha256 = "{SHA}"', r"with two brackets"),
        ("key = [1]", r"with two brackets"),
        (f'[[key]]\nsha256 = "{SHA}"', r"key 1 \(line 1\): `name` must be"),
        (f'[[key]]\nname = ""\nsha256 = "{SHA}"', "`name` must be"),
        (f'[[key]]\nname = "a b"\nsha256 = "{SHA}"', "`name` must be"),
        (f'[[key]]\nname = "{"a" * 65}"\nsha256 = "{SHA}"', "`name` must be 1 to 64"),
        ('[[key]]\nname = "ci"', "`sha256` of 'ci' must be 64 hexadecimal digits"),
        (f'[[key]]\nname = "ci"\nsha256 = "{SHA[1:]}"', "must be 64 hexadecimal digits"),
        (f'[[key]]\nname = "ci"\nsha256 = "{"0 " * 32}"', "must be 64 hexadecimal digits"),
        (stanza(more="requests_per_minute = 0"), r"key 1 \(line 1\): `requests_per_minute` must be a whole number"),
        (stanza(more="tokens_per_minute = 1.5"), "`tokens_per_minute` must be a whole number"),
        (stanza(more="tokens_per_minute = true"), "`tokens_per_minute` must be a whole number"),
        (stanza("ci", "ca-one") + stanza("ci", "ca-two"), r"keys.toml: two keys have the name 'ci'; .* number 2"),
        (stanza("ci", "ca-one") + stanza("dev", "ca-one"), "keys.toml: 'ci' and 'dev' have the same sha256"),
        (f'key = [{{name = "ci", sha256 = "{SHA}", colour = 1}}]', "keys.toml, key 1: `colour` is unknown"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ring(text)


def test_a_file_that_is_not_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keys.toml is not UTF-8 at byte 2"):
        KeyRing.parse(b"# \xff", PATH)


def test_a_file_is_read_again_by_its_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys.toml"
    with pytest.raises(ValueError, match=f"cannot read {path}: No such file"):
        watched_keys(path)
    path.write_text(stanza())
    keys = watched_keys(path)
    assert keys.value.find(b"Bearer ca-one").name == "ci"
    path.write_text("")
    keys.reload()
    with pytest.raises(Unauthorized):
        keys.value.find(b"Bearer ca-one")
    path.write_text(f"[[key]]\n{PLANTED}\n")
    keys.reload()
    assert "LLM_KEYS_FILE has changed and is not used" in (keys.problem or "")
    assert PLANTED not in (keys.problem or "") + caplog.text


def test_new_keys_are_told_by_their_prefix_and_never_alike() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("ca-") and len(key) == 46 for key in made)


@pytest.mark.parametrize(
    "text",
    [
        f'[[key]]\nname = "{PLANTED}"\nsha256 = "{SHA}"',
        f'[[key]]\nname = "ci"\nsha256 = "{PLANTED}"',
        f'[[key]]\nname = "ci"\nsha256 = "{SHA}"\nkey = "{PLANTED}"',
        f'[[key]]\nname = "ci"\nsha256 = "{SHA}"\n{PLANTED} = 1',
        f'[[key]]\nname = "ci"\nsha256 = "{SHA}"\ntokens_per_minute = "{PLANTED}"',
        f'key = ["{PLANTED}"]',
        f'key = "{PLANTED}"',
        f'{PLANTED} = "ci"',
        f"[[key]]\n{PLANTED}\n",
        f"{PLANTED}",
        f'name = "{PLANTED}',
    ],
)
def test_a_key_put_into_the_file_by_mistake_is_not_quoted(text: str) -> None:
    with pytest.raises(ValueError) as failed:  # noqa: PT011
        ring(text)
    assert PLANTED not in "".join(traceback.format_exception(failed.value))


def test_no_key_nor_hash_shows_in_an_error_a_repr_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mine = ring(stanza("ci", PLANTED))
    key = mine.find(b"Bearer " + PLANTED.encode())
    with pytest.raises(Unauthorized) as wrong:
        ring(stanza()).find(b"Bearer " + PLANTED.encode())
    with pytest.raises(Unauthorized) as bare:
        mine.find(PLANTED.encode())
    shown = [repr(mine), repr(key), str(key), repr(mine.__dict__), caplog.text]
    for failed in (wrong, bare):
        shown += ["".join(traceback.format_exception(failed.value)), repr(failed.value), str(failed.value.details)]
    assert not [text for text in shown if PLANTED in text or digest_of(PLANTED).hex() in text]
    assert repr(digest_of(PLANTED)) not in repr(key)
