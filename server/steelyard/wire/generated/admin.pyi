# Generated from protos/steelyard/v1/admin.proto by protos/generate.py (`make protos`). Not to be edited.
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import Any as _Any, ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

SOURCE_SHA256: str
SERIALIZED: bytes
DESCRIPTOR: _descriptor.FileDescriptor

class Who(_message.Message):
    __slots__ = ("actor", "reason")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Holder(_message.Message):
    __slots__ = ("version", "digest")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: str
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("model", "label", "holder", "follows", "previous", "since_unix_ms", "actor", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    label: str
    holder: Holder
    follows: bool
    previous: Holder
    since_unix_ms: int
    actor: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., label: _Optional[str] = ..., holder: _Optional[_Union[Holder, _Mapping[str, _Any]]] = ..., follows: bool = ..., previous: _Optional[_Union[Holder, _Mapping[str, _Any]]] = ..., since_unix_ms: _Optional[int] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListLabelsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListLabelsResponse(_message.Message):
    __slots__ = ("labels",)
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, labels: _Optional[_Iterable[_Union[Label, _Mapping[str, _Any]]]] = ...) -> None: ...

class SetLabelRequest(_message.Message):
    __slots__ = ("model", "label", "version", "who", "expected")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    model: str
    label: str
    version: str
    who: Who
    expected: int
    def __init__(self, model: _Optional[str] = ..., label: _Optional[str] = ..., version: _Optional[str] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ..., expected: _Optional[int] = ...) -> None: ...

class RemoveLabelRequest(_message.Message):
    __slots__ = ("model", "label", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    label: str
    who: Who
    def __init__(self, model: _Optional[str] = ..., label: _Optional[str] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("model", "label", "who", "drill", "stay_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    DRILL_FIELD_NUMBER: _ClassVar[int]
    STAY_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    label: str
    who: Who
    drill: bool
    stay_ms: int
    def __init__(self, model: _Optional[str] = ..., label: _Optional[str] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ..., drill: bool = ..., stay_ms: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("sequence", "unix_ms", "kind", "model", "actor", "reason", "digest", "details")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    unix_ms: int
    kind: str
    model: str
    actor: str
    reason: str
    digest: str
    details: str
    def __init__(self, sequence: _Optional[int] = ..., unix_ms: _Optional[int] = ..., kind: _Optional[str] = ..., model: _Optional[str] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., digest: _Optional[str] = ..., details: _Optional[str] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("model", "after", "limit")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    model: str
    after: int
    limit: int
    def __init__(self, model: _Optional[str] = ..., after: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping[str, _Any]]]] = ...) -> None: ...

class StartCanaryRequest(_message.Message):
    __slots__ = ("model", "candidate", "shares", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    candidate: str
    shares: _containers.RepeatedScalarFieldContainer[float]
    who: Who
    def __init__(self, model: _Optional[str] = ..., candidate: _Optional[str] = ..., shares: _Optional[_Iterable[float]] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class StopCanaryRequest(_message.Message):
    __slots__ = ("model", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    who: Who
    def __init__(self, model: _Optional[str] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class Remote(_message.Message):
    __slots__ = ("address", "model", "version", "tls", "root_file", "certificate_file", "key_file", "token_file", "concurrency")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    ROOT_FILE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FILE_FIELD_NUMBER: _ClassVar[int]
    KEY_FILE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FILE_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    address: str
    model: str
    version: str
    tls: bool
    root_file: str
    certificate_file: str
    key_file: str
    token_file: str
    concurrency: int
    def __init__(self, address: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., tls: bool = ..., root_file: _Optional[str] = ..., certificate_file: _Optional[str] = ..., key_file: _Optional[str] = ..., token_file: _Optional[str] = ..., concurrency: _Optional[int] = ...) -> None: ...

class StartShadowRequest(_message.Message):
    __slots__ = ("model", "version", "remote", "sample", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    remote: Remote
    sample: float
    who: Who
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., remote: _Optional[_Union[Remote, _Mapping[str, _Any]]] = ..., sample: _Optional[float] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class StopShadowRequest(_message.Message):
    __slots__ = ("model", "candidate", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    candidate: str
    who: Who
    def __init__(self, model: _Optional[str] = ..., candidate: _Optional[str] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class CalibrateRequest(_message.Message):
    __slots__ = ("model", "requests", "timeout_ms", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    requests: int
    timeout_ms: int
    who: Who
    def __init__(self, model: _Optional[str] = ..., requests: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class GetTrialsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class Trials(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class RestartWorkersRequest(_message.Message):
    __slots__ = ("actor",)
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    actor: str
    def __init__(self, actor: _Optional[str] = ...) -> None: ...

class ReplacedWorker(_message.Message):
    __slots__ = ("worker", "before_pid", "pid", "took_ms")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_PID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    TOOK_MS_FIELD_NUMBER: _ClassVar[int]
    worker: int
    before_pid: int
    pid: int
    took_ms: int
    def __init__(self, worker: _Optional[int] = ..., before_pid: _Optional[int] = ..., pid: _Optional[int] = ..., took_ms: _Optional[int] = ...) -> None: ...

class RestartWorkersResponse(_message.Message):
    __slots__ = ("replaced",)
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    replaced: _containers.RepeatedCompositeFieldContainer[ReplacedWorker]
    def __init__(self, replaced: _Optional[_Iterable[_Union[ReplacedWorker, _Mapping[str, _Any]]]] = ...) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("model", "version", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    who: Who
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class SetOwnerRequest(_message.Message):
    __slots__ = ("model", "owner", "backup_owner", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    BACKUP_OWNER_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    owner: str
    backup_owner: str
    who: Who
    def __init__(self, model: _Optional[str] = ..., owner: _Optional[str] = ..., backup_owner: _Optional[str] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class RetireRequest(_message.Message):
    __slots__ = ("model", "version", "replacement", "grace_ms", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_FIELD_NUMBER: _ClassVar[int]
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    replacement: str
    grace_ms: int
    who: Who
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., replacement: _Optional[str] = ..., grace_ms: _Optional[int] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class CancelRetirementRequest(_message.Message):
    __slots__ = ("model", "version", "who")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    who: Who
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., who: _Optional[_Union[Who, _Mapping[str, _Any]]] = ...) -> None: ...

class ExtendRetirementRequest(_message.Message):
    __slots__ = ("statement", "signature")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    signature: bytes
    def __init__(self, statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...
