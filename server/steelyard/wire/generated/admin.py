# Generated from protos/steelyard/v1/admin.proto by protos/generate.py (`make protos`). Not to be edited.
"""Messages of steelyard/v1/admin.proto, in the private pool."""

from steelyard.wire.pool import add_file, message

SOURCE_SHA256 = "df6b4119908aca159f7235d7519ce57cc0cb8925c5215b927c0fc250e839404a"
SERIALIZED = (
    b'\n\x18steelyard/v1/admin.proto\x12\x0csteelyard.v1"3\n\x03Who\x12\x14\n\x05actor\x18\x01 \x01(\tR\x05'
    b'actor\x12\x16\n\x06reason\x18\x02 \x01(\tR\x06reason":\n\x06Holder\x12\x18\n\x07version\x18\x01 \x01(\x03R\x07versio'
    b'n\x12\x16\n\x06digest\x18\x02 \x01(\tR\x06digest"\xff\x01\n\x05Label\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12\x14\n\x05lab'
    b'el\x18\x02 \x01(\tR\x05label\x12,\n\x06holder\x18\x03 \x01(\x0b2\x14.steelyard.v1.HolderR\x06holder\x12\x18\n'
    b'\x07follows\x18\x04 \x01(\x08R\x07follows\x120\n\x08previous\x18\x05 \x01(\x0b2\x14.steelyard.v1.HolderR'
    b'\x08previous\x12"\n\rsince_unix_ms\x18\x06 \x01(\x03R\x0bsinceUnixMs\x12\x14\n\x05actor\x18\x07 \x01(\tR\x05ac'
    b'tor\x12\x16\n\x06reason\x18\x08 \x01(\tR\x06reason")\n\x11ListLabelsRequest\x12\x14\n\x05model\x18\x01 \x01(\tR'
    b'\x05model"A\n\x12ListLabelsResponse\x12+\n\x06labels\x18\x01 \x03(\x0b2\x13.steelyard.v1.Labe'
    b'lR\x06labels"\x98\x01\n\x0fSetLabelRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12\x14\n\x05label\x18\x02 \x01'
    b'(\tR\x05label\x12\x18\n\x07version\x18\x03 \x01(\tR\x07version\x12#\n\x03who\x18\x04 \x01(\x0b2\x11.steelyard.v1.'
    b'WhoR\x03who\x12\x1a\n\x08expected\x18\x05 \x01(\x03R\x08expected"e\n\x12RemoveLabelRequest\x12\x14\n\x05mo'
    b'del\x18\x01 \x01(\tR\x05model\x12\x14\n\x05label\x18\x02 \x01(\tR\x05label\x12#\n\x03who\x18\x03 \x01(\x0b2\x11.steelyard.'
    b'v1.WhoR\x03who"\x91\x01\n\x0fRollbackRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12\x14\n\x05label\x18\x02'
    b' \x01(\tR\x05label\x12#\n\x03who\x18\x03 \x01(\x0b2\x11.steelyard.v1.WhoR\x03who\x12\x14\n\x05drill\x18\x04 \x01(\x08R'
    b'\x05drill\x12\x17\n\x07stay_ms\x18\x05 \x01(\x03R\x06stayMs"\xc6\x01\n\x05Event\x12\x1a\n\x08sequence\x18\x01 \x01(\x03R\x08seq'
    b'uence\x12\x17\n\x07unix_ms\x18\x02 \x01(\x03R\x06unixMs\x12\x12\n\x04kind\x18\x03 \x01(\tR\x04kind\x12\x14\n\x05model\x18\x04 \x01('
    b'\tR\x05model\x12\x14\n\x05actor\x18\x05 \x01(\tR\x05actor\x12\x16\n\x06reason\x18\x06 \x01(\tR\x06reason\x12\x16\n\x06digest'
    b'\x18\x07 \x01(\tR\x06digest\x12\x18\n\x07details\x18\x08 \x01(\tR\x07details"U\n\x11ListEventsRequest\x12\x14\n'
    b'\x05model\x18\x01 \x01(\tR\x05model\x12\x14\n\x05after\x18\x02 \x01(\x03R\x05after\x12\x14\n\x05limit\x18\x03 \x01(\x05R\x05limit"'
    b'A\n\x12ListEventsResponse\x12+\n\x06events\x18\x01 \x03(\x0b2\x13.steelyard.v1.EventR\x06even'
    b'ts2\xef\x02\n\x05Admin\x12O\n\nListLabels\x12\x1f.steelyard.v1.ListLabelsRequest\x1a .st'
    b'eelyard.v1.ListLabelsResponse\x12>\n\x08SetLabel\x12\x1d.steelyard.v1.SetLabe'
    b'lRequest\x1a\x13.steelyard.v1.Event\x12D\n\x0bRemoveLabel\x12 .steelyard.v1.Remo'
    b'veLabelRequest\x1a\x13.steelyard.v1.Event\x12>\n\x08Rollback\x12\x1d.steelyard.v1.R'
    b'ollbackRequest\x1a\x13.steelyard.v1.Event\x12O\n\nListEvents\x12\x1f.steelyard.v1'
    b'.ListEventsRequest\x1a .steelyard.v1.ListEventsResponseb\x06proto3'
)

DESCRIPTOR = add_file(SERIALIZED)

Who = message(DESCRIPTOR, "Who")
Holder = message(DESCRIPTOR, "Holder")
Label = message(DESCRIPTOR, "Label")
ListLabelsRequest = message(DESCRIPTOR, "ListLabelsRequest")
ListLabelsResponse = message(DESCRIPTOR, "ListLabelsResponse")
SetLabelRequest = message(DESCRIPTOR, "SetLabelRequest")
RemoveLabelRequest = message(DESCRIPTOR, "RemoveLabelRequest")
RollbackRequest = message(DESCRIPTOR, "RollbackRequest")
Event = message(DESCRIPTOR, "Event")
ListEventsRequest = message(DESCRIPTOR, "ListEventsRequest")
ListEventsResponse = message(DESCRIPTOR, "ListEventsResponse")
