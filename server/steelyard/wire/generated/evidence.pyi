# Generated from protos/steelyard/v1/evidence.proto by protos/generate.py (`make protos`). Not to be edited.
from steelyard.wire.generated import admin as _admin_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import Any as _Any, ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

SOURCE_SHA256: str
SERIALIZED: bytes
DESCRIPTOR: _descriptor.FileDescriptor

class EraseRequest(_message.Message):
    __slots__ = ("decision", "key", "who")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    decision: str
    key: str
    who: _admin_pb2.Who
    def __init__(self, decision: _Optional[str] = ..., key: _Optional[str] = ..., who: _Optional[_Union[_admin_pb2.Who, _Mapping[str, _Any]]] = ...) -> None: ...

class EraseResponse(_message.Message):
    __slots__ = ("decisions", "events")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedScalarFieldContainer[str]
    events: _containers.RepeatedCompositeFieldContainer[_admin_pb2.Event]
    def __init__(self, decisions: _Optional[_Iterable[str]] = ..., events: _Optional[_Iterable[_Union[_admin_pb2.Event, _Mapping[str, _Any]]]] = ...) -> None: ...
