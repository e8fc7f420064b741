"""Under the name that `tritonclient`'s messages bear, and by which Ray's processes look for their classes."""

from tritonclient.grpc.service_pb2 import *  # noqa: F403
