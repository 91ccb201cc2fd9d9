"""What is fuzzed: each takes any bytes, and raises only what nobody must ever see."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from contracts.codec import BatchError, decode, encode, inflate
from contracts.identity import ASSERTION_ALGORITHM
from contracts.objects import parse_key
from functions.authorizer import assertions, csr
from functions.authorizer.csr import CsrError
from functions.authorizer.handler import authorize
from functions.authorizer.keys import ALGORITHM, Keys, SigningKey
from functions.authorizer.tokens import TokenRefusedError, issue
from functions.ingest import door, loader
from functions.ingest.bucket import ObjectMissingError
from functions.store import Store
from tests.contracts.examples import FAULTS, VALID, batch, gzipped, run
from tests.functions.batches import batch as full_batch
from tests.functions.batches import packed
from tests.functions.events import agent_claims, messages, notification, operator_claims, upload
from tests.functions.identities import Agent

One = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """`seeds` are what the fuzzer begins with; `ready` makes what takes the bytes."""

    seeds: Callable[[], list[bytes]]
    ready: Callable[[], One]


class _Bucket:
    """Forgets what it is given."""

    def create(self, _key: str, _data: bytes) -> bool:
        return True

    def read(self, key: str, _at_most: int) -> bytes:
        raise ObjectMissingError(key)

    def keys(self, _prefix: str) -> Iterator[str]:
        return iter(())


def _decodes(data: bytes) -> None:
    with contextlib.suppress(BatchError):
        assert decode(encode(found := decode(data))) == found


def _decodes_json(data: bytes) -> None:
    _decodes(gzip.compress(data, 1, mtime=0))


def _door() -> One:
    door._bucket = _Bucket  # type: ignore[assignment]

    def one(data: bytes) -> None:
        # An even first byte: a body as it came; an odd one: JSON, well packed.
        body = gzip.compress(data[1:], 1, mtime=0) if data[:1] and data[0] % 2 else data[1:]
        status = door.handler(upload(body, agent="db-117"), None)["statusCode"]
        assert status in {202, 400, 403, 413, 422}, status

    return one


def _messages() -> One:
    environment = loader.LoaderEnvironment(bucket_url="file:///nowhere", store_dsn=SecretStr("host=/nowhere port=1"))
    loader._environment = lambda: environment  # type: ignore[assignment]
    loader._bucket = _Bucket  # type: ignore[assignment]
    loader._store = partial(Store, environment.store_dsn, "fuzz")  # type: ignore[assignment]

    def one(data: bytes) -> None:
        # What is no UTF-8 becomes lone surrogates, as it would from escapes in JSON.
        answer = loader.handler(messages(data.decode("utf-8", "surrogateescape")), None)
        assert answer["batchItemFailures"] in ([], [{"itemIdentifier": "m0"}])

    return one


def _key(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        text = data.decode()
        assert str(parse_key(text)) == text


_KEY = SigningKey("a1", bytes(range(32)))
_NOW = 1_800_000_000


def _token() -> One:
    def asks(token: str) -> None:
        event = upload(b"")
        event["headers"]["authorization"] = token
        with contextlib.suppress(TokenRefusedError):
            authorize(event, Keys((_KEY,)), _NOW)

    def one(data: bytes) -> None:
        asks(data.decode("latin-1"))
        # What only a holder of the key can send: claims of any shape.
        asks("Bearer " + jwt.PyJWS().encode(data, _KEY.secret, ALGORITHM, {"kid": _KEY.kid}))

    return one


_AGENT = Agent("db-117")
_AUDIENCE = "pganalytics:" + "0" * 32


def _csr(data: bytes) -> None:
    body = base64.encodebytes(data).decode()
    with contextlib.suppress(CsrError):
        csr.read(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n")
    with contextlib.suppress(CsrError):
        csr.read(data.decode("latin-1"))


def _csrs() -> list[bytes]:
    pem = _AGENT.csr().encode()
    return [x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER), pem]


def _assertion(data: bytes) -> None:
    with contextlib.suppress(TokenRefusedError):
        assertions._read(data.decode("latin-1"), {_AUDIENCE}, _NOW)
    # What only an agent can send: claims of any shape.
    with contextlib.suppress(TokenRefusedError):
        assertions._read(jwt.PyJWS().encode(data, _AGENT.key, ASSERTION_ALGORITHM), {_AUDIENCE}, _NOW)


def _assertions() -> list[bytes]:
    claims = _AGENT.claims(aud=_AUDIENCE, iat=_NOW, exp=_NOW + 60)
    return [jwt.encode(claims, _AGENT.key, ASSERTION_ALGORITHM).encode(), json.dumps(claims).encode()]


def _batches() -> list[bytes]:
    valid = [gzipped(VALID), gzipped(batch()), gzipped(batch(runs=[run()])), packed(full_batch())[1]]
    return [*valid, *(gzipped(fault.document) for fault in FAULTS)]


def _bodies() -> list[bytes]:
    return [b"\0" + each for each in _batches()] + [b"\1" + inflate(each) for each in _batches()]


def _tokens() -> list[bytes]:
    claims = (agent_claims(now=_NOW), operator_claims(now=_NOW))
    whole = [f"Bearer {issue(each, Keys((_KEY,)))}".encode() for each in claims]
    return [*whole, *(json.dumps(each.model_dump(mode="json")).encode() for each in claims)]


TARGETS: dict[str, Target] = {
    "batch": Target(_batches, lambda: _decodes),
    "json": Target(lambda: list(map(inflate, _batches())), lambda: _decodes_json),
    "door": Target(_bodies, _door),
    "messages": Target(lambda: [notification(packed(full_batch())[0], "batches/v1/x").encode(), b"{}"], _messages),
    "key": Target(lambda: [packed(full_batch())[0].encode()], lambda: _key),
    "token": Target(_tokens, _token),
    "csr": Target(_csrs, lambda: _csr),
    "assertion": Target(_assertions, lambda: _assertion),
}
