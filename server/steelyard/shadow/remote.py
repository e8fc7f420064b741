"""A candidate on another server: the same bytes, addressed to its model and version there."""

import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from steelyard.client.backoff import Backoff
from steelyard.client.blocking_channel import BlockingChannel
from steelyard.client.failures import CallFailed, error_of
from steelyard.client.rpcs import INFER, metadata
from steelyard.client.target import parse_target, tls_context
from steelyard.client.wiring import CONNECT_TIMEOUT_S, Wiring
from steelyard.errors import (
    ConfigError,
    DeadlineExpired,
    LoadFailed,
    Overloaded,
    SteelyardError,
    Unavailable,
    Unsupported,
)
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.rollout.frames import Asked
from steelyard.rpc.client_calls import ClientCall
from steelyard.rpc.limits import Limits
from steelyard.serving.call import MODEL_DIGEST
from steelyard.shadow.candidate import Outcome, Ran
from steelyard.shadow.task import RemoteTarget
from steelyard.wire.status import message_of, status_of

# Fields 1 and 2 of ModelInferRequest, model_name and model_version, with a length.
_MODEL_TAG = b"\x0a"
_VERSION_TAG = b"\x12"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)

# A token is a line; more is another file.
_MAX_TOKEN_BYTES = 16 << 10

# Whoever starts a shadow waits for what the server says of its tensors.
_MAX_METADATA_S = 10.0


class RemoteCandidate:
    """Asks a server by address; at most `concurrency` calls are under way, each on a thread and a connection of its
    own, and the unit's end is waited for.

    That wait is the back-pressure: a server that is slow gets no more than it answers.
    """

    def __init__(self, target: RemoteTarget, timeout_s: float, max_message_bytes: int) -> None:
        """Connects with the first call. Raises `ConfigError` for credentials that cannot be read or do not fit.

        timeout_s: of each call. A server to which there is no connection within half of it is away, and has not failed.
        """
        self._timeout_s = timeout_s
        self._target = target
        self._suffix = readdressed(target.model, target.version)
        self._metadata = _call_metadata(target)
        tls = tls_context(target.root_file, target.certificate_file, target.key_file) if target.tls else None
        wiring = Wiring(
            Limits(max_message_bytes=max_message_bytes),
            connect_timeout_s=min(CONNECT_TIMEOUT_S, timeout_s / 2),
        )
        self._channel = BlockingChannel(parse_target(target.address), wiring, tls, Backoff(random.random))
        self._callers = ThreadPoolExecutor(target.concurrency, "remote")
        self._digest = ""

    @property
    def digest(self) -> str:
        """As the server said it with its last answer, or of the version that it offers."""
        return self._digest

    def offered(self, batched: bool) -> ModelSpec | None:
        """What the server says that the version takes and gives; None where it is away, or does not tell.

        batched: what is assumed of the first axis, of which metadata says nothing. Raises `LoadFailed` for what the
        server refuses, such as a model that it does not have.
        """
        rpc = metadata(self._target.model, self._target.version)
        timeout_s = min(self._timeout_s, _MAX_METADATA_S)
        try:
            found = rpc.decode(self._channel.unary(rpc.method, rpc.body, timeout_s, self._metadata))
        except CallFailed as failed:
            error = error_of(failed.failure, self._target.address)
            if isinstance(error, (Unavailable, Overloaded, DeadlineExpired, Unsupported)):
                return None
            raise LoadFailed(f"the candidate's server at {self._target.address}: {error}") from None
        except SteelyardError as error:
            raise LoadFailed(f"the candidate's server at {self._target.address}: {error}") from None
        self._digest = _digest(found.properties.get("digest", ""))
        inputs, outputs = (
            tuple(TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors)
            for tensors in (found.inputs, found.outputs)
        )
        return ModelSpec(inputs, outputs, batched)

    def run(self, asked: Sequence[Asked], rows: int = 0) -> Ran:
        return Ran(list(self._callers.map(self._outcome, asked)))

    def close(self) -> None:
        self._channel.close()
        self._callers.shutdown()

    def _outcome(self, asked: Asked) -> Outcome:
        try:
            answer, call = self._channel.ask(
                INFER, asked.body + self._suffix, self._timeout_s, self._metadata
            )
        except CallFailed as failed:
            error = error_of(failed.failure, self._target.address)
            if isinstance(error, Unavailable):
                return Outcome(error=message_of(error), status=int(status_of(error)), unmet="down")
            if isinstance(error, Overloaded):
                return Outcome(error=message_of(error), status=int(status_of(error)), unmet="overloaded")
            return Outcome(error=message_of(error), status=int(status_of(error)))
        self._digest = _digest_said(call) or self._digest
        return Outcome(answer)


def readdressed(model: str, version: str) -> bytes:
    """What is appended to a serialized ModelInferRequest to address it anew: of a field that is not repeated, and comes
    more than once, the last one holds (protobuf's encoding, "Last One Wins")."""
    return _field(_MODEL_TAG, model) + _field(_VERSION_TAG, version)


def _field(tag: bytes, text: str) -> bytes:
    encoded = text.encode()
    left = len(encoded)
    size = bytearray()
    while left > 0x7F:
        size.append(left & 0x7F | 0x80)
        left >>= 7
    size.append(left)
    return tag + bytes(size) + encoded


def _digest(text: str) -> str:
    """What a server says of its content, where it is a digest; else nothing."""
    return text if _DIGEST.fullmatch(text) else ""


def _digest_said(call: ClientCall) -> str:
    """The digest in what a server sent after its answer; empty where there is none, or it cannot be read."""
    try:
        said = dict(call.trailing_metadata()).get(MODEL_DIGEST, "")
    except ValueError:
        return ""
    return _digest(said) if isinstance(said, str) else ""


def _call_metadata(target: RemoteTarget) -> tuple[tuple[str, str], ...]:
    if target.token_file is None:
        return ()
    if not (target.tls or target.is_local):
        raise ConfigError(f"token: expected TLS to {target.address}, as anybody on the way could read it")
    token = _token(target.token_file)
    if not token or len(token) > _MAX_TOKEN_BYTES or not token.isascii() or any(c <= 32 for c in token):
        raise ConfigError(f"{target.token_file}: expected one token of printable ASCII")
    return (("authorization", f"Bearer {token.decode('ascii')}"),)


def _token(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the token: {error.strerror}") from None
