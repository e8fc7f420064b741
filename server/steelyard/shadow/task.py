"""What a shadow's process is told when it starts."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from steelyard.addresses import Address, UnixAddress, parse_grpc_address
from steelyard.models.manifest import ModelManifest
from steelyard.models.spec import ModelSpec
from steelyard.wire.types import MAX_MESSAGE_BYTES


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LocalTarget(_Message):
    """A version in a directory on this machine."""

    number: int
    path: Path
    threads: int = 1
    """Most threads of one run; the manifest may ask for fewer."""


class RemoteTarget(_Message):
    """A version on another server that speaks the protocol."""

    address: str
    """"host:port", or "unix:/path"."""
    model: str
    version: str = ""
    """Empty leaves the choice to that server."""
    tls: bool = False
    root_file: Path | None = None
    """Certificates that the server's is checked against, PEM; None: the system's."""
    certificate_file: Path | None = None
    """The client's own certificate, PEM, with `key_file`."""
    key_file: Path | None = None
    token_file: Path | None = None
    """A bearer token, sent with each call; with TLS or over a Unix socket only."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Most calls under way at the same time."""

    @field_validator("address")
    @classmethod
    def _where_a_server_listens(cls, value: str) -> str:
        address = parse_grpc_address(value)
        if isinstance(address, Address) and address.port == 0:
            raise ValueError("expected HOST:PORT with a port from 1 to 65535")
        return value

    @model_validator(mode="after")
    def _tls_where_it_can_be(self) -> Self:
        if self.tls and self.is_local:
            raise ValueError("expected no TLS over a Unix socket, as no server speaks it there")
        if not self.tls and (self.root_file or self.certificate_file or self.key_file):
            raise ValueError("expected TLS, as certificates and keys are given, and it is not asked for")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the server is reached by a Unix socket."""
        return isinstance(parse_grpc_address(self.address), UnixAddress)


class ShadowTask(_Message):
    """The first message on the line to a shadow's process."""

    rollout: str
    """What the shadow is called, in logs and among disagreements; it also seeds what is sampled of values."""
    model: str
    offered: ModelSpec
    """What the version in production takes and gives."""
    manifest: ModelManifest
    candidate: LocalTarget | RemoteTarget
    socket: Path
    """Where the worker finds the process."""
    tolerances: dict[str, tuple[float, float]] = {}
    """By output, absolute and relative, of the last calibration."""
    calibrate: bool = False
    """Whether the candidate is the primary's own version, to learn how far its answers differ by themselves."""
    checkpoint: dict[str, Any] = {}
    """What an earlier life of the process has counted."""
    disagreements: Path | None = None
    """The file in which the worst are kept, which only this process writes; None: none are."""
    data: Path | None = None
    """The data directory, where the payloads of disagreements are to be kept; None: they are not."""
    profile: str = "dev"
    verdicts: Path | None = None
    signers: Path | None = None
    """The keys and certificates of those who may sign versions; None: signatures are not looked at."""
    max_message_bytes: int = MAX_MESSAGE_BYTES
    log_level: str = "info"
    log_format: str = "json"
