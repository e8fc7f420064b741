"""The server's settings: what can be set, what it means, and within which bounds."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from steelyard.addresses import Address, GrpcAddresses, ListenAddress, ListenAddresses
from steelyard.fronts.http2.patience import Patience
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.toml import Bytes

_LIMITS = Limits()
_TOTALS = TotalLimits()
_PATIENCE = Patience()

AnyPath = Annotated[Path, Field(strict=False)]

# A window and a frame are what HTTP/2 allows; everything else only has to be a number that a machine could hold.
_MAX_WINDOW_BYTES = (1 << 31) - 1
_MAX_COUNT = 1_000_000
_MAX_BYTES = 1 << 50

Seconds = Annotated[int, Field(ge=0, le=86_400)]
"""Whole seconds, 0: for ever."""
Window = Annotated[Bytes, Field(ge=65_535, le=_MAX_WINDOW_BYTES)]
Held = Annotated[Bytes, Field(ge=1024, le=_MAX_BYTES)]
Count = Annotated[int, Field(ge=1, le=_MAX_COUNT)]


class Settings(BaseModel):
    """What is in force while a server runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    repository: AnyPath = Field(default=Path("."), description="The model repository.")
    grpc_address: GrpcAddresses = Field(
        default=(Address("127.0.0.1", 8001),),
        description="Where gRPC is served without TLS, HOST:PORT or unix:/PATH, one or several; port 0: any free one.",
    )
    grpc_tls_address: ListenAddresses = Field(
        default=(), description="Where gRPC is served with TLS, HOST:PORT, one or several."
    )
    tls_certificate: AnyPath | None = Field(
        default=None, description="The server's certificate and what it was issued by, PEM."
    )
    tls_key: AnyPath | None = Field(
        default=None, description="The key of tls_certificate, PEM, not encrypted."
    )
    tls_client_ca: AnyPath | None = Field(
        default=None,
        description="Issuers of clients' certificates, PEM; given: a client must show one (mTLS).",
    )
    # Whoever can open the socket may ask anything, so it is its owner's unless told otherwise.
    grpc_socket_mode: Literal["0600", "0660", "0666"] = Field(
        default="0600", description="Who may open the Unix sockets of grpc_address."
    )
    http_address: ListenAddress = Field(
        default=Address("127.0.0.1", 8000),
        description="Where HTTP is served (metrics, health); port 0: any free one.",
    )
    front: Literal["http2", "grpcio"] = Field(
        default="http2",
        description="Which gRPC implementation answers: http2, our own, or grpcio, the reference.",
    )
    data: AnyPath = Field(
        default=Path(".steelyard"),
        description="The directory of what the server keeps; not given: .steelyard in the repository.",
    )
    # Each holds every model and a hundred megabytes beside; more of them than this were never tried on a machine.
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Worker processes that share the ports; each loads every model.",
    )
    model_signers: AnyPath | None = Field(
        default=None,
        description="Who may sign versions: a directory of public keys and certificates, PEM, or one such file.",
    )
    tlog_key: AnyPath | None = Field(
        default=None,
        description="The key that signs the transparency log; not given: keys/log.key in the data directory.",
    )
    witness_key: AnyPath | None = Field(
        default=None, description="A witness's key, which signs the log's checkpoints as well."
    )
    profile: Literal["dev", "production"] = Field(
        default="dev", description="dev serves models that nobody owns, and says so; production refuses them."
    )
    retirement_keys: AnyPath | None = Field(
        default=None,
        description="Public keys (Ed25519, PEM) of those who may extend a model's service past its retire_on.",
    )
    webhook_url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[!-~]+$")] | None = Field(
        default=None,
        description="Where retirements and their warnings are posted as JSON, http:// or https://.",
    )
    # gRPC's own default of 4 MiB refuses a batch of ordinary images; a frame's length is announced in four
    # bytes.
    max_message_bytes: Bytes = Field(
        default=64 << 20,
        ge=1024,
        le=(1 << 31) - 1,
        description="Largest message, in and out; a larger one is refused.",
    )
    # Sparing of the network, not of the time: compressing costs some ten times what answering does.
    compress_answers: Literal["none", "gzip"] = Field(
        default="none", description="How answers are compressed for clients that understand it."
    )
    # Beside every model's own bound: a thousand models at 256 MiB each would be more than any machine has.
    max_queue_bytes: Bytes = Field(
        default=1 << 30,
        ge=1024,
        le=1 << 50,
        description="Bytes of requests that may wait, over all models together.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Threads that run models, over all sessions; 0: as many as the cgroup gives CPUs.",
    )
    load_threads: int = Field(
        default=0, ge=0, le=256, description="Threads that load models; 0: as many as `threads`."
    )
    poll_interval_s: float = Field(
        default=2.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds between two looks at the repository; 0: do not watch.",
    )
    drain_timeout_s: float = Field(
        default=30.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds that accepted requests get at a stop.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto is text on a terminal and json elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe line to log."
    )
    log_requests: bool = Field(default=False, description="Whether every request gets a line in the log.")
    inline_threshold_us: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="A batch predicted to take less runs on the event loop itself, in microseconds; 0: none.",
    )
    # A minute of full load is some ten of these; each is sealed as a whole.
    journal_segment_bytes: Bytes = Field(
        default=64 << 20,
        ge=1 << 16,
        le=1 << 32,
        description="A file of the journal of decisions is closed when it has so many bytes.",
    )
    journal_segment_age_s: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="A file of the journal of decisions is closed when it is so old.",
    )
    journal_commit_interval_ms: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="How long answers that wait for their records gather before these are synced together.",
    )
    # A year at most: who wants none says so.
    audit_interval_s: float = Field(
        default=86_400.0,
        ge=0,
        le=31_622_400,
        allow_inf_nan=False,
        description="Seconds between two audits of all that is recorded; 0: only when somebody asks for one.",
    )
    # As long as decisions are kept by default: a label is worth little without what it is of.
    feedback_retention_days: float = Field(
        default=400.0,
        gt=0,
        le=36_525,
        allow_inf_nan=False,
        description="Feedback that came longer ago than this is removed.",
    )
    reflection: bool = Field(default=True, description="Whether gRPC reflection is served.")

    # What follows bounds the http2 front; each default is explained where `rpc.limits` and `Patience` define it.
    max_connections: Count = Field(
        default=_TOTALS.max_connections,
        description="Connections at the same time; a further one is closed at once.",
    )
    max_streams: Count = Field(
        default=_LIMITS.max_streams,
        description="Calls open on one connection; further ones wait at the client.",
    )
    max_open_calls: Count = Field(
        default=_TOTALS.max_calls,
        description="Calls open over all connections; a connection with fewer than 16 may always begin one.",
    )
    max_frame_bytes: Annotated[Bytes, Field(ge=16_384, le=(1 << 24) - 1)] = Field(
        default=_LIMITS.max_frame_bytes, description="Largest HTTP/2 frame that a peer may send."
    )
    stream_window_bytes: Window = Field(
        default=_LIMITS.stream_window_bytes,
        description="What a peer may send on one call before it hears that it was read.",
    )
    connection_window_bytes: Window = Field(
        default=_LIMITS.connection_window_bytes, description="The same over all calls of a connection."
    )
    connection_received_bytes: Held = Field(
        default=_LIMITS.connection_bytes, description="Requests of one connection that the server may hold."
    )
    total_received_bytes: Held = Field(
        default=_TOTALS.received_bytes, description="Requests of all connections that the server may hold."
    )
    connection_send_bytes: Held = Field(
        default=_LIMITS.send_bytes,
        description="Answers of one connection that may wait for its peer; one always may.",
    )
    total_send_bytes: Held = Field(
        default=_TOTALS.send_bytes, description="Answers that may wait for their peers, over all connections."
    )
    max_header_bytes: Annotated[Bytes, Field(ge=1024, le=16 << 20)] = Field(
        default=_LIMITS.max_header_bytes, description="Headers of one call; a call with more is refused."
    )
    hard_header_bytes: Annotated[Bytes, Field(ge=1024, le=16 << 20)] = Field(
        default=_LIMITS.hard_header_bytes, description="Headers of one call at which its connection ends."
    )
    hard_header_fields: Annotated[int, Field(ge=16, le=_MAX_COUNT)] = Field(
        default=_LIMITS.hard_header_fields,
        description="Header fields of one call at which its connection ends.",
    )
    max_continuations: Count = Field(
        default=_LIMITS.max_continuations, description="CONTINUATION frames after one HEADERS."
    )
    reset_burst: Count = Field(
        default=_LIMITS.reset_burst,
        description="Cancellations (RST_STREAM) that a connection may send at once.",
    )
    reset_rate: Count = Field(
        default=_LIMITS.reset_rate,
        description="Cancellations a second that a connection may send after that.",
    )
    glitch_burst: Count = Field(
        default=_LIMITS.glitch_burst, description="Suspicious frames that a connection may send at once."
    )
    glitch_rate: Count = Field(
        default=_LIMITS.glitch_rate,
        description="Suspicious frames a second that a connection may send after that.",
    )
    max_acknowledgements: Count = Field(
        default=_LIMITS.max_acknowledgements,
        description="Answers to PING and SETTINGS that may wait for a peer that does not read them.",
    )
    max_settings_entries: Count = Field(
        default=_LIMITS.max_settings, description="Entries of one SETTINGS frame."
    )
    handshake_timeout_s: Seconds = Field(
        default=_PATIENCE.handshake_s,
        description="Seconds from a connection to the end of TLS's handshake and HTTP/2's preface; 0: any time.",
    )
    frame_timeout_s: Seconds = Field(
        default=_PATIENCE.stalled_frame_s,
        description="Seconds for one frame or block of headers, first byte to last; 0: any time.",
    )
    body_timeout_s: Seconds = Field(
        default=_PATIENCE.stalled_body_s, description="Seconds between two pieces of a request; 0: any time."
    )
    upload_timeout_s: Seconds = Field(
        default=_PATIENCE.whole_body_s,
        description="Seconds for a whole request, or a message of a stream, to come; 0: any time.",
    )
    write_timeout_s: Seconds = Field(
        default=_PATIENCE.stalled_write_s,
        description="Seconds in which a peer takes nothing of the answers that wait for it; 0: any time.",
    )
    idle_timeout_s: Seconds = Field(
        default=_PATIENCE.idle_s, description="Seconds that a connection may go without a call; 0: any time."
    )
    max_connection_age_s: Seconds = Field(
        default=_PATIENCE.age_s,
        description="Seconds after which a connection is asked to come anew, whatever it does; 0: never.",
    )
    keepalive_interval_s: Seconds = Field(
        default=_PATIENCE.keepalive_s,
        description="Seconds without a byte from the peer before it is asked whether it is there; 0: never.",
    )
    keepalive_timeout_s: Seconds = Field(
        default=_PATIENCE.keepalive_timeout_s,
        description="Seconds that its answer to that may take; 0: any time.",
    )

    @field_validator("repository", "data", mode="before")
    @classmethod
    def _usable_path(cls, value: object) -> object:
        if value == "" or "\0" in str(value):
            raise ValueError("expected the path of a directory")
        return value

    @field_validator(
        "tls_certificate",
        "tls_key",
        "tls_client_ca",
        "tlog_key",
        "witness_key",
        "model_signers",
        mode="before",
    )
    @classmethod
    def _usable_file(cls, value: object) -> object:
        if value == "" or "\0" in str(value):
            raise ValueError("expected the path of a file")
        return value


# What must not be more than what, and why.
_ORDERED = (
    ("max_message_bytes", "connection_received_bytes", "or the largest message could never come whole"),
    ("connection_received_bytes", "total_received_bytes", "as one connection's requests are among all"),
    ("connection_send_bytes", "total_send_bytes", "as one connection's answers are among all"),
    ("stream_window_bytes", "connection_window_bytes", "as the larger would never be reached"),
    ("max_header_bytes", "hard_header_bytes", "or the connection would end before the call is refused"),
)


def contradiction(settings: Settings) -> str | None:
    """What two settings say against each other, which are fine each for itself; None where nothing does."""
    if not settings.grpc_address and not settings.grpc_tls_address:
        return "grpc_address: expected an address here or in grpc_tls_address, got none in either"
    if settings.workers > 1 and settings.front != "http2":
        return f"workers: expected 1 with front = {settings.front}, or front = http2, got {settings.workers}"
    if settings.grpc_tls_address:
        for key in ("tls_certificate", "tls_key"):
            if getattr(settings, key) is None:
                return f"{key}: expected, as grpc_tls_address is set, but not given"
    else:
        for key in ("tls_certificate", "tls_key", "tls_client_ca"):
            if getattr(settings, key) is not None:
                return (
                    f"{key}: expected grpc_tls_address beside it, as nothing is served with TLS without one"
                )
    for smaller, larger, why in _ORDERED:
        least, came = getattr(settings, smaller), getattr(settings, larger)
        if came < least:
            return f"{larger}: expected at least {smaller} ({least}), {why}, got {came}"
    return None
