# Generated from protos/steelyard/v1/admin.proto by protos/generate.py (`make protos`). Not to be edited.
"""Messages of steelyard/v1/admin.proto, in the private pool."""

from steelyard.wire.pool import add_file, message

SOURCE_SHA256 = "cb980eceac2c33b25f938182991bbea1fe2187bbc08e630672811f56f7fe83c2"
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
    b'ts"\x85\x01\n\x12StartCanaryRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12\x1c\n\tcandidate\x18\x02 \x01'
    b'(\tR\tcandidate\x12\x16\n\x06shares\x18\x03 \x03(\x01R\x06shares\x12#\n\x03who\x18\x04 \x01(\x0b2\x11.steelyard.v'
    b'1.WhoR\x03who"N\n\x11StopCanaryRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12#\n\x03who\x18\x02 \x01'
    b'(\x0b2\x11.steelyard.v1.WhoR\x03who"\x88\x02\n\x06Remote\x12\x18\n\x07address\x18\x01 \x01(\tR\x07address\x12'
    b'\x14\n\x05model\x18\x02 \x01(\tR\x05model\x12\x18\n\x07version\x18\x03 \x01(\tR\x07version\x12\x10\n\x03tls\x18\x04 \x01(\x08R\x03tl'
    b's\x12\x1b\n\troot_file\x18\x05 \x01(\tR\x08rootFile\x12)\n\x10certificate_file\x18\x06 \x01(\tR\x0fcertif'
    b'icateFile\x12\x19\n\x08key_file\x18\x07 \x01(\tR\x07keyFile\x12\x1d\n\ntoken_file\x18\x08 \x01(\tR\ttokenF'
    b'ile\x12 \n\x0bconcurrency\x18\t \x01(\x05R\x0bconcurrency"\xc0\x01\n\x12StartShadowRequest\x12\x14\n\x05'
    b'model\x18\x01 \x01(\tR\x05model\x12\x1a\n\x07version\x18\x02 \x01(\tH\x00R\x07version\x12.\n\x06remote\x18\x03 \x01(\x0b2\x14'
    b'.steelyard.v1.RemoteH\x00R\x06remote\x12\x16\n\x06sample\x18\x04 \x01(\x01R\x06sample\x12#\n\x03who\x18\x05 '
    b'\x01(\x0b2\x11.steelyard.v1.WhoR\x03whoB\x0b\n\tcandidate"l\n\x11StopShadowRequest\x12\x14\n'
    b'\x05model\x18\x01 \x01(\tR\x05model\x12\x1c\n\tcandidate\x18\x02 \x01(\tR\tcandidate\x12#\n\x03who\x18\x03 \x01(\x0b2\x11'
    b'.steelyard.v1.WhoR\x03who"\x88\x01\n\x10CalibrateRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05mode'
    b'l\x12\x1a\n\x08requests\x18\x02 \x01(\x03R\x08requests\x12\x1d\n\ntimeout_ms\x18\x03 \x01(\x03R\ttimeoutMs\x12#\n\x03'
    b'who\x18\x04 \x01(\x0b2\x11.steelyard.v1.WhoR\x03who"(\n\x10GetTrialsRequest\x12\x14\n\x05model\x18\x01'
    b' \x01(\tR\x05model" \n\x06Trials\x12\x16\n\x06status\x18\x01 \x01(\tR\x06status"-\n\x15RestartWorkersR'
    b'equest\x12\x14\n\x05actor\x18\x01 \x01(\tR\x05actor"r\n\x0eReplacedWorker\x12\x16\n\x06worker\x18\x01 \x01(\x05R\x06'
    b'worker\x12\x1d\n\nbefore_pid\x18\x02 \x01(\x03R\tbeforePid\x12\x10\n\x03pid\x18\x03 \x01(\x03R\x03pid\x12\x17\n\x07took_'
    b'ms\x18\x04 \x01(\x03R\x06tookMs"R\n\x16RestartWorkersResponse\x128\n\x08replaced\x18\x01 \x03(\x0b2\x1c.s'
    b'teelyard.v1.ReplacedWorkerR\x08replaced"e\n\x0eApproveRequest\x12\x14\n\x05model\x18'
    b'\x01 \x01(\tR\x05model\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version\x12#\n\x03who\x18\x03 \x01(\x0b2\x11.steelyard.'
    b'v1.WhoR\x03who"\x85\x01\n\x0fSetOwnerRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12\x14\n\x05owner\x18\x02'
    b' \x01(\tR\x05owner\x12!\n\x0cbackup_owner\x18\x03 \x01(\tR\x0bbackupOwner\x12#\n\x03who\x18\x04 \x01(\x0b2\x11.st'
    b'eelyard.v1.WhoR\x03who"\xa1\x01\n\rRetireRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12\x18\n\x07v'
    b'ersion\x18\x02 \x01(\x03R\x07version\x12 \n\x0breplacement\x18\x03 \x01(\tR\x0breplacement\x12\x19\n\x08grace'
    b'_ms\x18\x04 \x01(\x03R\x07graceMs\x12#\n\x03who\x18\x05 \x01(\x0b2\x11.steelyard.v1.WhoR\x03who"n\n\x17Cance'
    b'lRetirementRequest\x12\x14\n\x05model\x18\x01 \x01(\tR\x05model\x12\x18\n\x07version\x18\x02 \x01(\x03R\x07versi'
    b'on\x12#\n\x03who\x18\x03 \x01(\x0b2\x11.steelyard.v1.WhoR\x03who"U\n\x17ExtendRetirementReque'
    b'st\x12\x1c\n\tstatement\x18\x01 \x01(\x0cR\tstatement\x12\x1c\n\tsignature\x18\x02 \x01(\x0cR\tsignature2\x86'
    b'\n\n\x05Admin\x12O\n\nListLabels\x12\x1f.steelyard.v1.ListLabelsRequest\x1a .steely'
    b'ard.v1.ListLabelsResponse\x12>\n\x08SetLabel\x12\x1d.steelyard.v1.SetLabelReq'
    b'uest\x1a\x13.steelyard.v1.Event\x12D\n\x0bRemoveLabel\x12 .steelyard.v1.RemoveLa'
    b'belRequest\x1a\x13.steelyard.v1.Event\x12>\n\x08Rollback\x12\x1d.steelyard.v1.Rollb'
    b'ackRequest\x1a\x13.steelyard.v1.Event\x12O\n\nListEvents\x12\x1f.steelyard.v1.Lis'
    b'tEventsRequest\x1a .steelyard.v1.ListEventsResponse\x12D\n\x0bStartCanary\x12'
    b' .steelyard.v1.StartCanaryRequest\x1a\x13.steelyard.v1.Event\x12B\n\nStopCa'
    b'nary\x12\x1f.steelyard.v1.StopCanaryRequest\x1a\x13.steelyard.v1.Event\x12E\n\rPr'
    b'omoteCanary\x12\x1f.steelyard.v1.StopCanaryRequest\x1a\x13.steelyard.v1.Even'
    b't\x12D\n\x0bStartShadow\x12 .steelyard.v1.StartShadowRequest\x1a\x13.steelyard.v'
    b'1.Event\x12B\n\nStopShadow\x12\x1f.steelyard.v1.StopShadowRequest\x1a\x13.steelya'
    b'rd.v1.Event\x12@\n\tCalibrate\x12\x1e.steelyard.v1.CalibrateRequest\x1a\x13.steel'
    b'yard.v1.Event\x12A\n\tGetTrials\x12\x1e.steelyard.v1.GetTrialsRequest\x1a\x14.ste'
    b'elyard.v1.Trials\x12[\n\x0eRestartWorkers\x12#.steelyard.v1.RestartWorkers'
    b'Request\x1a$.steelyard.v1.RestartWorkersResponse\x12<\n\x07Approve\x12\x1c.steel'
    b'yard.v1.ApproveRequest\x1a\x13.steelyard.v1.Event\x12>\n\x08SetOwner\x12\x1d.steely'
    b'ard.v1.SetOwnerRequest\x1a\x13.steelyard.v1.Event\x12:\n\x06Retire\x12\x1b.steelyar'
    b'd.v1.RetireRequest\x1a\x13.steelyard.v1.Event\x12N\n\x10CancelRetirement\x12%.st'
    b'eelyard.v1.CancelRetirementRequest\x1a\x13.steelyard.v1.Event\x12N\n\x10Exten'
    b'dRetirement\x12%.steelyard.v1.ExtendRetirementRequest\x1a\x13.steelyard.v'
    b'1.Eventb\x06proto3'
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
StartCanaryRequest = message(DESCRIPTOR, "StartCanaryRequest")
StopCanaryRequest = message(DESCRIPTOR, "StopCanaryRequest")
Remote = message(DESCRIPTOR, "Remote")
StartShadowRequest = message(DESCRIPTOR, "StartShadowRequest")
StopShadowRequest = message(DESCRIPTOR, "StopShadowRequest")
CalibrateRequest = message(DESCRIPTOR, "CalibrateRequest")
GetTrialsRequest = message(DESCRIPTOR, "GetTrialsRequest")
Trials = message(DESCRIPTOR, "Trials")
RestartWorkersRequest = message(DESCRIPTOR, "RestartWorkersRequest")
ReplacedWorker = message(DESCRIPTOR, "ReplacedWorker")
RestartWorkersResponse = message(DESCRIPTOR, "RestartWorkersResponse")
ApproveRequest = message(DESCRIPTOR, "ApproveRequest")
SetOwnerRequest = message(DESCRIPTOR, "SetOwnerRequest")
RetireRequest = message(DESCRIPTOR, "RetireRequest")
CancelRetirementRequest = message(DESCRIPTOR, "CancelRetirementRequest")
ExtendRetirementRequest = message(DESCRIPTOR, "ExtendRetirementRequest")
