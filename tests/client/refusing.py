"""A real gRPC server in the test's own process that refuses as it is told, and keeps what it was sent."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from steelyard.wire.generated import grpc_service as pb

ANSWER = pb.ModelInferResponse(model_name="m", model_version="1").SerializeToString()


@dataclass
class Refusal:
    """How one call is refused."""

    code: grpc.StatusCode = grpc.StatusCode.RESOURCE_EXHAUSTED
    pushback: str | None = None
    decision_id: str | None = None


@dataclass
class Refusing:
    """The server's script: the n-th call meets the n-th refusal, and those after the last are answered."""

    address: str = ""
    refusals: list[Refusal] = field(default_factory=list)
    previous_attempts: list[str | None] = field(default_factory=list)
    """Of every call, what its metadata said."""

    def next(self, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        self.previous_attempts.append(metadata.get("grpc-previous-rpc-attempts"))
        if not self.refusals:
            return ANSWER
        refusal = self.refusals.pop(0)
        trailing: list[tuple[str, str]] = []
        if refusal.pushback is not None:
            trailing.append(("grpc-retry-pushback-ms", refusal.pushback))
        if refusal.decision_id is not None:
            trailing.append(("steelyard-decision-id", refusal.decision_id))
        context.set_trailing_metadata(trailing)
        context.abort(refusal.code, "refused as told")
        raise AssertionError("abort raises")


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, script: Refusing) -> None:
        self._script = script

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda body, context: self._script.next(context))


@contextmanager
def refusing(refusals: Sequence[Refusal] = ()) -> Iterator[Refusing]:
    """A server that follows the script."""
    script = Refusing(refusals=list(refusals))
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((_Handler(script),))
        script.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield script
        finally:
            server.stop(None).wait()
