"""The first golden example of a version: a request, of inputs that are given or made up, and what it is answered."""

from collections.abc import Mapping
from typing import Any

from steelyard.cli.inputs import Given, InputReader
from steelyard.client import Tensor
from steelyard.client.answers import TensorMetadata
from steelyard.client.requests import Request, encode_request
from steelyard.client.tensors import encode_tensor
from steelyard.errors import LoadFailed, SteelyardError
from steelyard.models.golden import GoldenExample, GoldenOptions
from steelyard.models.spec import ModelSpec
from steelyard.runtime.samples import candidates
from steelyard.serving.answering import Named
from steelyard.serving.golden import run_example, told
from steelyard.serving.loading import LoadedVersion
from steelyard.serving.takes import Takes
from steelyard.serving.walk import Walk, walk
from steelyard.wire import decode_request, encode_response
from steelyard.wire.check import explain_misfit

NAME = "first"
MADE_UP = "Its inputs are made up and say nothing about the model's use: record a real request in its place."


class FirstExample:
    """Makes the example by running the version that `loaded` holds, in this process."""

    def __init__(self, model: str, version: str, loaded: LoadedVersion) -> None:
        self._model = model
        self._version = version
        self._loaded = loaded
        about = loaded.version_manifest
        self._takes = Takes(loaded.spec, loaded.pipeline, about.model_tensors)

    @property
    def _offered(self) -> ModelSpec:
        return self._loaded.spec if self._loaded.pipeline is None else self._loaded.pipeline.offered

    def of_given(
        self, values: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], max_bytes: int
    ) -> GoldenExample:
        """Of inputs as options give them: see InputReader.

        Raises click.UsageError and InvalidRequest for inputs that are wrong, LoadFailed where it fails on them.
        """
        declared = [
            TensorMetadata(tensor.name, tensor.datatype, tensor.dims) for tensor in self._offered.inputs
        ]
        reader = InputReader(self._model, declared, shapes, max_bytes)
        body = self._encoded({name: reader.from_option(name, text) for name, text in values.items()})
        try:
            answer = self._answer(body)
        except SteelyardError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise LoadFailed(f"model {self._model!r} fails on the inputs given: {told(error)}") from None
        return self._example(body, answer, GoldenOptions())

    def of_made_up(self) -> GoldenExample:
        """Of one row of made-up inputs that the version answers. Raises LoadFailed where it answers none."""
        offered = self._offered
        problem = "it takes none"
        for inputs in candidates(offered, rows=1):
            try:
                row = {tensor.name: Tensor(inputs[tensor.name], tensor.datatype) for tensor in offered.inputs}
                body = self._encoded(row)
                answer = self._answer(body)
            except Exception as error:  # as above
                problem = told(error)
            else:
                return self._example(body, answer, GoldenOptions(note=MADE_UP))
        raise LoadFailed(
            f"model {self._model!r} answers no made-up input, so there is no first golden example: "
            f"give real ones with --input ({problem})"
        )

    def _encoded(self, inputs: Given) -> bytes:
        return encode_request(Request(model=self._model, inputs=inputs))

    def _answer(self, body: bytes) -> list[Named]:
        loaded, walked = self._loaded, Walk()
        request: Any = decode_request(body)
        walk(request, self._takes, loaded.session, loaded.spec, loaded.pipeline, walked)
        if not walked.fits:
            explain_misfit(request, self._model, self._takes.specs, loaded.spec.batched)
        return walked.answer

    def _example(self, body: bytes, answer: list[Named], options: GoldenOptions) -> GoldenExample:
        """Raises LoadFailed where the version does not give the answer again, as no server would let it in."""
        outputs = [encode_tensor(name, Tensor(array, datatype)) for name, datatype, array in answer]
        expected = encode_response(self._model, self._version, "", {}, outputs)
        example = GoldenExample(NAME, body, expected, options)
        loaded = self._loaded
        problem = run_example(example, self._takes, loaded.session, loaded.spec, loaded.pipeline, [])
        if problem:
            raise LoadFailed(
                f"model {self._model!r} answers the same request differently, so it cannot be golden-tested: {problem}"
            )
        return example
