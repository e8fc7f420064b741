"""The private descriptor pool that holds the project's protobuf messages.

Other packages describe the same protocol under the same names, and protobuf's default pool refuses a second
file that declares a known symbol. Nothing of ours is ever added to it, so both can live in one process.
"""

from typing import Any

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()

_serialized: dict[str, bytes] = {}


def add_file(serialized: bytes) -> FileDescriptor:
    """Adds a serialized FileDescriptorProto; what it imports must be there already."""
    file: FileDescriptor = POOL.AddSerializedFile(serialized)
    _serialized[file.name] = serialized
    return file


def serialized_files() -> dict[str, bytes]:
    """Serialized FileDescriptorProto by file name, of every generated module imported so far."""
    return dict(_serialized)


def message(file: FileDescriptor, name: str) -> Any:
    """The class of a top-level message; the generated stubs hold its static type."""
    return _with_nested(file.message_types_by_name[name])


def _with_nested(descriptor: Descriptor) -> Any:
    """The class, with those nested in it as attributes, which protobuf without its C core leaves out."""
    kind: Any = GetMessageClass(descriptor)
    for nested in descriptor.nested_types:
        nested_kind = _with_nested(nested)
        if not hasattr(kind, nested.name):
            setattr(kind, nested.name, nested_kind)
    return kind


def enum(file: FileDescriptor, name: str) -> Any:
    """The wrapper of a top-level enum; the generated stubs hold its static type."""
    return EnumTypeWrapper(file.enum_types_by_name[name])
