"""Runs inside MLServer's environment: a runtime of ONNX Runtime, as its documentation has custom runtimes."""

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxRuntime(MLModel):
    """A model that MLServer batches before it comes here."""

    async def load(self) -> bool:
        """One thread a run, as everywhere in this comparison."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        file = self.settings.parameters.uri
        self._session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One run for what came."""
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        outputs = self._session.run(None, {"X": rows})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("Y", outputs[0])])
