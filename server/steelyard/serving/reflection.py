"""grpc.reflection, v1 and v1alpha: what services there are and how their messages are described."""

from collections.abc import AsyncIterator
from typing import Any

from steelyard.serving.messages import parse
from steelyard.serving.methods import BidiStream, Context, Methods
from steelyard.wire.generated import reflection_v1, reflection_v1alpha
from steelyard.wire.pool import POOL, serialized_files
from steelyard.wire.status import Status


def register(methods: Methods) -> None:
    """Puts both versions' handlers into the table; call last, since it tells of what is there."""
    for package, messages in (("v1", reflection_v1), ("v1alpha", reflection_v1alpha)):
        name = f"/grpc.reflection.{package}.ServerReflection/ServerReflectionInfo"
        methods.bidi_stream[name] = _info(messages, methods)


def _info(pb: Any, methods: Methods) -> BidiStream:
    async def info(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for body in bodies:
            request = parse(pb.ServerReflectionRequest, body)
            response = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
            _answer(pb, request, response, methods)
            yield response.SerializeToString()

    return info


def _answer(pb: Any, request: Any, response: Any, methods: Methods) -> None:
    kind = request.WhichOneof("message_request")
    if kind == "list_services":
        for service in methods.services():
            response.list_services_response.service.add(name=service)
    elif kind == "file_by_filename":
        _add_file(response, request.file_by_filename)
    elif kind == "file_containing_symbol":
        try:
            name = _file_of(request.file_containing_symbol)
        except KeyError:
            _refuse(response, f"no symbol {request.file_containing_symbol!r}")
        else:
            _add_file(response, name)
    elif kind in ("file_containing_extension", "all_extension_numbers_of_type"):
        _refuse(response, "no message here has extensions")
    else:
        _refuse(response, "the request asks for nothing that is known", Status.INVALID_ARGUMENT)


def _file_of(symbol: str) -> str:
    """The file that describes a service, a message, or a member of one; raises KeyError."""
    try:
        return str(POOL.FindFileContainingSymbol(symbol).name)
    except KeyError:
        # The pool does not look for methods and fields.
        owner, _, member = symbol.rpartition(".")
        name = str(POOL.FindFileContainingSymbol(owner).name)
        try:
            known = member in POOL.FindServiceByName(owner).methods_by_name
        except KeyError:
            known = member in POOL.FindMessageTypeByName(owner).fields_by_name
        if not known:
            raise
        return name


def _add_file(response: Any, name: str) -> None:
    """The file and, before anyone asks, the files that it imports."""
    files = serialized_files()
    if name not in files:
        _refuse(response, f"no file {name!r}")
        return
    pending, sent = [name], set()
    while pending:
        current = pending.pop()
        if current in sent:
            continue
        sent.add(current)
        response.file_descriptor_response.file_descriptor_proto.append(files[current])
        pending += [dependency.name for dependency in POOL.FindFileByName(current).dependencies]


def _refuse(response: Any, message: str, code: Status = Status.NOT_FOUND) -> None:
    response.error_response.error_code = code
    response.error_response.error_message = message
