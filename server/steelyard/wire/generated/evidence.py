# Generated from protos/steelyard/v1/evidence.proto by protos/generate.py (`make protos`). Not to be edited.
"""Messages of steelyard/v1/evidence.proto, in the private pool."""

# What this file imports has to be in the pool first.
from steelyard.wire.generated import admin
from steelyard.wire.pool import add_file, message

SOURCE_SHA256 = "330ee403251754200fecfe2291870df916934c7d455fd9315c8ab734c3b4093b"
SERIALIZED = (
    b'\n\x1bsteelyard/v1/evidence.proto\x12\x0csteelyard.v1\x1a\x18steelyard/v1/admin.'
    b'proto"n\n\x0cEraseRequest\x12\x1c\n\x08decision\x18\x01 \x01(\tH\x00R\x08decision\x12\x12\n\x03key\x18\x02 \x01(\t'
    b'H\x00R\x03key\x12#\n\x03who\x18\x03 \x01(\x0b2\x11.steelyard.v1.WhoR\x03whoB\x07\n\x05which"Z\n\rEraseRe'
    b'sponse\x12\x1c\n\tdecisions\x18\x01 \x03(\tR\tdecisions\x12+\n\x06events\x18\x02 \x03(\x0b2\x13.steelyard'
    b'.v1.EventR\x06events2L\n\x08Evidence\x12@\n\x05Erase\x12\x1a.steelyard.v1.EraseReque'
    b'st\x1a\x1b.steelyard.v1.EraseResponseb\x06proto3'
)

DESCRIPTOR = add_file(SERIALIZED)

EraseRequest = message(DESCRIPTOR, "EraseRequest")
EraseResponse = message(DESCRIPTOR, "EraseResponse")
