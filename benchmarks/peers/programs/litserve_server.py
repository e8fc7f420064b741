"""Runs inside LitServe's environment: PORT; the model's file is in the environment variable MODEL."""

import os
import sys
from typing import Any

import litserve as ls
import numpy as np
import onnxruntime as ort


class OnnxApi(ls.LitAPI):
    """JSON in, a batch of rows through ONNX Runtime, JSON out."""

    def setup(self, device: str) -> None:
        """Called in the process that runs the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict[str, Any]) -> Any:
        """One row."""
        return np.array(request["x"][0], np.float32)

    def batch(self, inputs: list[Any]) -> Any:
        """Rows to one array."""
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        """One run a batch."""
        return self._session.run(None, {"X": x})[0]

    def unbatch(self, output: Any) -> Any:
        """An array to rows."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """One row, as it is asked for."""
        return {"y": [output.tolist()]}


if __name__ == "__main__":
    server = ls.LitServer(OnnxApi(max_batch_size=64, batch_timeout=0.0), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
