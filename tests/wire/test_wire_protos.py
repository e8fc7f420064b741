"""The .proto files against the descriptors of the field's most used client, and the modules made of them."""

import hashlib
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto

from steelyard.wire import pool
from steelyard.wire.generated import (
    MODULES,
    grpc_service,
    health,
    model_config,
    reflection_v1,
    reflection_v1alpha,
)

PROTOS = Path(__file__).resolve().parents[2] / "protos"

# What OIP has and the superset has not.
ADDED_FIELDS = {("inference.ModelMetadataResponse", "properties")}
ADDED_MESSAGES = {"inference.ModelMetadataResponse.PropertiesEntry"}


def describe_message(message: Descriptor) -> dict[str, Any]:
    as_proto = DescriptorProto()
    message.CopyToProto(as_proto)
    for field in as_proto.field:
        # protoc puts it in where it writes descriptors to a file, and it follows from the name.
        field.ClearField("json_name")
    return {
        "fields": {
            # All there is: number, type, label, type name, oneof, presence, packing, options.
            field.name: (field.SerializeToString(), message.fields_by_name[field.name].has_presence)
            for field in as_proto.field
            if (message.full_name, field.name) not in ADDED_FIELDS
        },
        "oneofs": {oneof.name: [field.name for field in oneof.fields] for oneof in message.oneofs},
        "is map entry": message.GetOptions().map_entry,
    }


def describe_enum(enum: EnumDescriptor) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def describe_service(service: ServiceDescriptor) -> dict[str, Any]:
    return {
        method.name: (
            method.input_type.full_name,
            method.output_type.full_name,
            method.client_streaming,
            method.server_streaming,
        )
        for method in service.methods
    }


def describe_file(file: FileDescriptor) -> dict[str, Any]:
    """Everything that the wire or a caller can see, by full name."""
    found: dict[str, Any] = {}

    def walk(message: Descriptor) -> None:
        if message.full_name not in ADDED_MESSAGES:
            found[message.full_name] = describe_message(message)
        for enum in message.enum_types:
            found[enum.full_name] = describe_enum(enum)
        for nested in message.nested_types:
            walk(nested)

    for message in file.message_types_by_name.values():
        walk(message)
    for enum in file.enum_types_by_name.values():
        found[enum.full_name] = describe_enum(enum)
    for service in file.services_by_name.values():
        found[service.full_name] = describe_service(service)
    return found


@pytest.mark.parametrize("name", ["service_pb2", "model_config_pb2"])
def test_every_field_is_that_of_the_superset(name: str) -> None:
    theirs = importlib.import_module(f"tritonclient.grpc.{name}").DESCRIPTOR
    ours = {"service_pb2": grpc_service, "model_config_pb2": model_config}[name].DESCRIPTOR
    expected = describe_file(theirs)
    assert len(expected) > 30
    assert describe_file(ours) == expected


def test_properties_take_a_number_that_the_superset_leaves_unused() -> None:
    field = grpc_service.ModelMetadataResponse.DESCRIPTOR.fields_by_name["properties"]
    theirs = importlib.import_module("tritonclient.grpc.service_pb2").ModelMetadataResponse.DESCRIPTOR
    assert field.number == 6
    assert field.number not in theirs.fields_by_number
    message = grpc_service.ModelMetadataResponse(properties={"owner": "fraud team"})
    assert grpc_service.ModelMetadataResponse.FromString(message.SerializeToString()) == message


@pytest.mark.parametrize("path", MODULES)
def test_generated_module_is_of_the_proto_file_that_is_there(path: str) -> None:
    module = importlib.import_module(f"steelyard.wire.generated.{MODULES[path]}")
    assert hashlib.sha256((PROTOS / path).read_bytes()).hexdigest() == module.SOURCE_SHA256, (
        "run `make protos`"
    )
    assert module.DESCRIPTOR.name == path
    assert pool.serialized_files()[path] == module.SERIALIZED


def test_every_proto_file_has_a_generated_module() -> None:
    assert {str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto")} >= set(MODULES)


def test_well_known_services_have_their_names() -> None:
    assert list(health.DESCRIPTOR.services_by_name["Health"].methods_by_name) == ["Check", "Watch"]
    assert health.DESCRIPTOR.package == "grpc.health.v1"
    assert health.HealthCheckResponse.SERVING == 1
    for module, package in (
        (reflection_v1, "grpc.reflection.v1"),
        (reflection_v1alpha, "grpc.reflection.v1alpha"),
    ):
        service = module.DESCRIPTOR.services_by_name["ServerReflection"]
        assert service.full_name == f"{package}.ServerReflection"
        numbers = {field.name: field.number for field in module.ServerReflectionRequest.DESCRIPTOR.fields}
        assert numbers == {
            "host": 1,
            "file_by_filename": 3,
            "file_containing_symbol": 4,
            "file_containing_extension": 5,
            "all_extension_numbers_of_type": 6,
            "list_services": 7,
        }
        numbers = {field.name: field.number for field in module.ServerReflectionResponse.DESCRIPTOR.fields}
        assert numbers == {
            "valid_host": 1,
            "original_request": 2,
            "file_descriptor_response": 4,
            "all_extension_numbers_response": 5,
            "list_services_response": 6,
            "error_response": 7,
        }


def test_enum_values_are_in_the_module() -> None:
    assert model_config.TYPE_FP32 == 11
    assert model_config.DataType.Name(13) == "TYPE_STRING"


BOTH = """
{imports}
theirs = service_pb2.ModelInferRequest(model_name="tiny", id="7", raw_input_contents=[b"abcd"])
theirs.parameters["priority"].uint64_param = 1
theirs.inputs.add(name="x", datatype="FP32", shape=[1])
ours = grpc_service.ModelInferRequest.FromString(theirs.SerializeToString())
assert service_pb2.ModelInferRequest.FromString(ours.SerializeToString()) == theirs
assert type(ours) is not type(theirs)
"""
OURS = "from steelyard.wire.generated import grpc_service"
THEIRS = "import tritonclient.grpc\nfrom tritonclient.grpc import service_pb2"


@pytest.mark.parametrize(
    "imports", [f"{OURS}\n{THEIRS}", f"{THEIRS}\n{OURS}"], ids=["ours first", "theirs first"]
)
def test_lives_beside_tritonclient_in_one_process(imports: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", BOTH.format(imports=imports)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
