"""The first answer of a version that was put into a running server's repository: it is loaded there, and asked."""

from steelyard.cli.server import Reached
from steelyard.client import Client, Tensor
from steelyard.client.results import Result
from steelyard.client.tensors import decode_tensor
from steelyard.models.golden import GoldenExample
from steelyard.wire import decode_request


class Newcomer:
    """A model that a running server has not looked at yet; for use in a `with`."""

    def __init__(self, server: Reached, model: str, timeout_s: float, max_message_bytes: int) -> None:
        """timeout_s: of each call."""
        self._model = model
        self._client = Client(
            server.address, timeout_s=timeout_s, max_message_bytes=max_message_bytes, tls=server.tls
        )

    def __enter__(self) -> "Newcomer":
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.close()

    def load(self) -> None:
        """Returns when the server is ready to answer for it; raises a SteelyardError with why it is not."""
        self._client.load(self._model)

    def ask(self, example: GoldenExample) -> Result:
        """What the server answers to the example's request. Raises a SteelyardError where it does not."""
        inputs = {
            tensor.name: Tensor(decode_tensor(tensor), tensor.datatype)
            for tensor in decode_request(example.request).inputs
        }
        return self._client.infer(self._model, inputs)
