"""The other calls: liveness, metadata, configuration, statistics, repository, health, reflection."""

from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.generated import health as health_pb
from steelyard.wire.generated import model_config as config_pb
from steelyard.wire.generated import reflection_v1, reflection_v1alpha
from tests.support import models
from tests.support.asking import Asker
from tests.support.server import Server

ONES = {"x": np.ones((1, 4), np.float32)}
SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
]


def test_live_ready_and_who_it_is(ask: Asker) -> None:
    assert ask.call("ServerLive").live
    assert ask.call("ServerReady").ready
    metadata = ask.call("ServerMetadata")
    assert metadata.name == "steelyard"
    assert metadata.version
    assert {"statistics", "model_repository", "classification"} <= set(metadata.extensions)


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [
        ("double", "", True),
        ("double", "1", True),
        ("versions", "2", True),
        ("empty_file", "", False),
        ("empty_file", "1", False),
        ("unknown_key", "", False),
    ],
)
def test_model_ready(ask: Asker, name: str, version: str, ready: bool) -> None:
    assert ask.call("ModelReady", pb.ModelReadyRequest(name=name, version=version)).ready is ready


@pytest.mark.parametrize(("name", "version"), [("nobody", ""), ("double", "2"), ("versions", "01")])
def test_model_ready_of_what_is_not_there(ask: Asker, name: str, version: str) -> None:
    refusal = ask.refused(pb.ModelReadyRequest(name=name, version=version), "ModelReady")
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert f"'{name}'" in refusal.message


@pytest.mark.parametrize("datatype", models.ELEMENT)
def test_metadata_and_configuration_of_every_type(ask: Asker, datatype: str) -> None:
    name = f"same_{datatype.lower()}"
    metadata = ask.call("ModelMetadata", pb.ModelMetadataRequest(name=name))
    (tensor,) = metadata.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", datatype, [-1, 4])
    config = ask.call("ModelConfig", pb.ModelConfigRequest(name=name)).config
    (given,) = config.input
    assert (given.name, list(given.dims)) == ("x", [4])
    expected = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    assert config_pb.DataType.Name(given.data_type) == expected
    assert config.max_batch_size == 64


def test_metadata_of_versions_and_configuration_without_a_batch_axis(ask: Asker) -> None:
    metadata = ask.call("ModelMetadata", pb.ModelMetadataRequest(name="versions", version="2"))
    assert list(metadata.versions) == ["1", "2", "10"]
    config = ask.call("ModelConfig", pb.ModelConfigRequest(name="fixed")).config
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [2, 3]
    for message, method in (
        (pb.ModelMetadataRequest(name="empty_file"), "ModelMetadata"),
        (pb.ModelConfigRequest(name="empty_file"), "ModelConfig"),
    ):
        assert ask.refused(message, method).code is grpc.StatusCode.UNAVAILABLE


def test_statistics_count_requests_rows_and_batches(ask: Asker) -> None:
    def read() -> Any:
        (found,) = ask.call(
            "ModelStatistics", pb.ModelStatisticsRequest(name="same_int32", version="1")
        ).model_stats
        return found

    before = read()
    for rows in (1, 2, 5):
        ask.infer("same_int32", {"x": np.zeros((rows, 4), np.int32)})
    ask.refused(pb.ModelInferRequest(model_name="same_int32"))
    after = read()
    assert (after.name, after.version) == ("same_int32", "1")
    assert after.inference_count - before.inference_count == 8
    assert after.execution_count - before.execution_count == 3
    assert after.inference_stats.success.count - before.inference_stats.success.count == 3
    assert after.inference_stats.queue.count - before.inference_stats.queue.count == 3
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.inference_stats.success.ns > after.inference_stats.compute_infer.ns > 0
    assert after.last_inference > 1_600_000_000_000
    sizes = {entry.batch_size: entry.compute_infer.count for entry in after.batch_stats}
    assert {1, 2, 5} <= set(sizes)
    everything = ask.call("ModelStatistics", pb.ModelStatisticsRequest()).model_stats
    assert ("versions", "10") in {(entry.name, entry.version) for entry in everything}


@pytest.mark.parametrize(("name", "version"), [("nobody", ""), ("double", "7")])
def test_statistics_of_what_is_not_there(ask: Asker, name: str, version: str) -> None:
    message = pb.ModelStatisticsRequest(name=name, version=version)
    assert ask.refused(message, "ModelStatistics").code is grpc.StatusCode.NOT_FOUND


def test_the_index_shows_all_and_what_is_ready(ask: Asker) -> None:
    found = ask.call("RepositoryIndex").models
    states = {(entry.name, entry.version): entry.state for entry in found}
    assert states["double", "1"] == "READY"
    assert states["versions", "10"] == "READY"
    assert states["empty_file", "1"] == "UNAVAILABLE"
    assert states["unknown_key", ""] == "UNAVAILABLE"
    assert states["no_versions", ""] == "UNAVAILABLE"
    assert ("double", "02") not in states
    ready = ask.call("RepositoryIndex", pb.RepositoryIndexRequest(ready=True)).models
    assert {entry.state for entry in ready} == {"READY"}
    assert "empty_file" not in {entry.name for entry in ready}


def test_loading_what_cannot_be_loaded(ask: Asker) -> None:
    refusal = ask.refused(pb.RepositoryModelLoadRequest(model_name="cut_off"), "RepositoryModelLoad")
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "'cut_off'" in refusal.message
    assert "cut off" in refusal.message
    message = pb.RepositoryModelLoadRequest(model_name="double")
    message.parameters["config"].string_param = "{}"
    refusal = ask.refused(message, "RepositoryModelLoad")
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "config" in refusal.message


@pytest.mark.parametrize(
    "method",
    [
        "SystemSharedMemoryStatus",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryUnregister",
        "TraceSetting",
        "LogSettings",
        "NoSuchMethod",
        "/no.such.Service/Method",
    ],
)
def test_what_is_not_there_is_unimplemented(ask: Asker, method: str) -> None:
    assert ask.refused(b"", method).code is grpc.StatusCode.UNIMPLEMENTED


def check(ask: Asker, service: str) -> int:
    body = health_pb.HealthCheckRequest(service=service).SerializeToString()
    status: int = health_pb.HealthCheckResponse.FromString(
        ask.raw("/grpc.health.v1.Health/Check", body)
    ).status
    return status


def test_health_of_the_server_and_of_models(ask: Asker) -> None:
    assert check(ask, "") == health_pb.HealthCheckResponse.SERVING
    assert check(ask, "double") == health_pb.HealthCheckResponse.SERVING
    assert check(ask, "empty_file") == health_pb.HealthCheckResponse.NOT_SERVING
    body = health_pb.HealthCheckRequest(service="nobody").SerializeToString()
    refusal = ask.refused(body, "/grpc.health.v1.Health/Check")
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert "'nobody'" in refusal.message


@pytest.mark.parametrize(
    ("package", "messages"), [("v1", reflection_v1), ("v1alpha", reflection_v1alpha)], ids=["v1", "v1alpha"]
)
def test_reflection(ask: Asker, package: str, messages: Any) -> None:
    asked = [
        messages.ServerReflectionRequest(list_services=""),
        messages.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
        messages.ServerReflectionRequest(
            file_containing_symbol="inference.ModelInferRequest.InferInputTensor"
        ),
        messages.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health.Check"),
        messages.ServerReflectionRequest(file_by_filename="inference/grpc_service.proto"),
        messages.ServerReflectionRequest(file_containing_symbol="no.such.Symbol"),
        messages.ServerReflectionRequest(file_by_filename="../../etc/passwd"),
        messages.ServerReflectionRequest(all_extension_numbers_of_type="inference.ModelInferRequest"),
        messages.ServerReflectionRequest(),
    ]
    call = ask.channel.stream_stream(
        f"/grpc.reflection.{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=messages.ServerReflectionResponse.FromString,
    )
    answers = list(call(iter(asked), timeout=30))
    assert [a.original_request for a in answers] == asked
    assert [s.name for s in answers[0].list_services_response.service] == SERVICES
    for answer in answers[1:3]:
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(f)
            for f in answer.file_descriptor_response.file_descriptor_proto
        ]
        names = {file.name for file in files}
        assert {s.name for f in files for s in f.service} >= {"GRPCInferenceService"}
        assert all(dependency in names for file in files for dependency in file.dependency)
    health_files = answers[3].file_descriptor_response.file_descriptor_proto
    assert descriptor_pb2.FileDescriptorProto.FromString(health_files[0]).package == "grpc.health.v1"
    for answer in answers[5:8]:
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert answer.error_response.error_message
    assert answers[8].error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_reflection_of_bytes_that_are_no_request(ask: Asker) -> None:
    call = ask.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([b"\xff\xff"]), timeout=30))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_pages_of_the_http_port(server: Server) -> None:
    assert server.get("/v2/health/live")[0] == 200
    assert server.get("/v2/health/ready")[0] == 200
    assert server.get("/no/such/page")[0] == 404
    status, page = server.get("/metrics")
    assert status == 200
    assert "steelyard_worker_up" in page
