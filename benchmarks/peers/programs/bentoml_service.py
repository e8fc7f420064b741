"""Runs inside BentoML's environment: the model's file is in the environment variable MODEL."""

import os
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime as ort
from bentoml.validators import DType, Shape


@bentoml.service(workers=1, traffic={"max_concurrency": 256})
class Tiny:
    """JSON in, batches made by BentoML, JSON out."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    @bentoml.api(batchable=True, max_batch_size=64)
    def predict(
        self, x: Annotated[np.ndarray, DType("float32"), Shape((-1, 16))]
    ) -> Annotated[np.ndarray, DType("float32"), Shape((-1, 4))]:
        """One run a batch."""
        return self._session.run(None, {"X": x})[0]
