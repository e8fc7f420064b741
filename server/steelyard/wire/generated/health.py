# Generated from protos/grpc/health/v1/health.proto by protos/generate.py (`make protos`). Not to be edited.
"""Messages of grpc/health/v1/health.proto, in the private pool."""

from steelyard.wire.pool import add_file, message

SOURCE_SHA256 = "1ca5396099e18694c212c9c1feb2dd06173156bb2d67b7015af898d8e280767c"
SERIALIZED = (
    b'\n\x1bgrpc/health/v1/health.proto\x12\x0egrpc.health.v1".\n\x12HealthCheckRequ'
    b'est\x12\x18\n\x07service\x18\x01 \x01(\tR\x07service"\xb1\x01\n\x13HealthCheckResponse\x12I\n\x06status\x18'
    b'\x01 \x01(\x0e21.grpc.health.v1.HealthCheckResponse.ServingStatusR\x06status'
    b'"O\n\rServingStatus\x12\x0b\n\x07UNKNOWN\x10\x00\x12\x0b\n\x07SERVING\x10\x01\x12\x0f\n\x0bNOT_SERVING\x10\x02\x12\x13\n\x0f'
    b'SERVICE_UNKNOWN\x10\x032\xae\x01\n\x06Health\x12P\n\x05Check\x12".grpc.health.v1.HealthChe'
    b'ckRequest\x1a#.grpc.health.v1.HealthCheckResponse\x12R\n\x05Watch\x12".grpc.h'
    b'ealth.v1.HealthCheckRequest\x1a#.grpc.health.v1.HealthCheckResponse'
    b'0\x01b\x06proto3'
)

DESCRIPTOR = add_file(SERIALIZED)

HealthCheckRequest = message(DESCRIPTOR, "HealthCheckRequest")
HealthCheckResponse = message(DESCRIPTOR, "HealthCheckResponse")
