"""MiniLM as an ONNX graph, made of its weights: six layers of BERT, 384 wide, with twelve heads.

Devlin, Chang, Lee, Toutanova, "BERT" (2019); the names of the weights are those of its PyTorch form.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

LAYERS, WIDTH, HEADS = 6, 384, 12
NORM_EPSILON = 1e-12
# The first operator set with Gelu, and a file format that ONNX Runtime 1.19 reads.
OPSET, IR_VERSION = 20, 10

Array = np.ndarray[Any, Any]


def build(weights: Path) -> bytes:
    """The model that is in the safetensors file `weights`, as a serialized ONNX model.

    Takes input_ids and attention_mask, INT64 of [rows, tokens]; gives last_hidden_state, FP32 of [rows, tokens, 384].
    """
    return Builder(load_file(weights)).model().SerializeToString()


class Builder:
    """Nodes and their constants, one after the other; every method returns the name of what it made."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def model(self) -> onnx.ModelProto:
        """The whole of it."""
        ids, mask = (
            helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
            for name in ("input_ids", "attention_mask")
        )
        hidden = self._embeddings(ids.name)
        bias = self._bias(mask.name)
        for number in range(LAYERS):
            hidden = self._layer(f"encoder.layer.{number}", hidden, bias)
        self._nodes.append(helper.make_node("Identity", [hidden], ["last_hidden_state"]))
        made = helper.make_tensor_value_info(
            "last_hidden_state", TensorProto.FLOAT, ["rows", "tokens", WIDTH]
        )
        graph = helper.make_graph(self._nodes, "minilm", [ids, mask], [made], list(self._constants.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model)
        return model

    def _embeddings(self, ids: str) -> str:
        """Words and places; all tokens are of the first kind of text, so that kind's vector is added to the places."""
        words = self._node(
            "Gather", self._constant("words", self._weights["embeddings.word_embeddings.weight"]), ids
        )
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        places = self._weights["embeddings.position_embeddings.weight"] + kind
        tokens = self._node("Shape", ids, start=1, end=2)
        first = self._constant("first", np.array([0]))
        some = self._node("Slice", self._constant("places", places), first, tokens, first)
        return self._norm("embeddings.LayerNorm", self._node("Add", words, some))

    def _bias(self, mask: str) -> str:
        """What is added to the scores of attention: nothing, or the smallest number where a token is padding."""
        real = self._node(
            "Cast", self._node("Unsqueeze", mask, self._constant("axes", np.array([1, 2]))), to=9
        )
        nought = self._constant("nought", np.float32(0))
        smallest = self._constant("smallest", np.finfo(np.float32).min)
        return self._node("Where", real, nought, smallest)

    def _layer(self, name: str, hidden: str, bias: str) -> str:
        attended = self._dense(f"{name}.attention.output.dense", self._attention(name, hidden, bias))
        hidden = self._norm(f"{name}.attention.output.LayerNorm", self._node("Add", attended, hidden))
        wide = self._node("Gelu", self._dense(f"{name}.intermediate.dense", hidden))
        narrow = self._dense(f"{name}.output.dense", wide)
        return self._norm(f"{name}.output.LayerNorm", self._node("Add", narrow, hidden))

    def _attention(self, name: str, hidden: str, bias: str) -> str:
        """All heads at once; queries, keys and values are one product, and the queries bring the scale."""
        scale = np.float32((WIDTH // HEADS) ** -0.5)
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        matrices = [self._weights[f"{part}.weight"] for part in parts]
        offsets = [self._weights[f"{part}.bias"] for part in parts]
        matrix = np.concatenate([matrices[0] * scale, *matrices[1:]]).T
        offset = np.concatenate([offsets[0] * scale, *offsets[1:]])
        heads = self._node(
            "Reshape", self._product(name, hidden, matrix, offset), self._shape(0, 0, 3 * HEADS, -1)
        )
        turned = self._node("Transpose", heads, perm=[0, 2, 1, 3])
        queries, keys, values = (f"{name}.{part}" for part in ("queries", "keys", "values"))
        self._nodes.append(
            helper.make_node("Split", [turned], [queries, keys, values], axis=1, num_outputs=3)
        )
        scores = self._node("MatMul", queries, self._node("Transpose", keys, perm=[0, 1, 3, 2]))
        shares = self._node("Softmax", self._node("Add", scores, bias), axis=-1)
        found = self._node("Transpose", self._node("MatMul", shares, values), perm=[0, 2, 1, 3])
        return self._node("Reshape", found, self._shape(0, 0, WIDTH))

    def _dense(self, name: str, hidden: str) -> str:
        return self._product(name, hidden, self._weights[f"{name}.weight"].T, self._weights[f"{name}.bias"])

    def _product(self, name: str, hidden: str, matrix: Array, offset: Array) -> str:
        product = self._node("MatMul", hidden, self._constant(f"{name}.matrix", np.ascontiguousarray(matrix)))
        return self._node("Add", product, self._constant(f"{name}.offset", offset))

    def _norm(self, name: str, hidden: str) -> str:
        scale, offset = (
            self._constant(f"{name}.{part}", self._weights[f"{name}.{part}"]) for part in ("weight", "bias")
        )
        return self._node("LayerNormalization", hidden, scale, offset, axis=-1, epsilon=NORM_EPSILON)

    def _shape(self, *dims: int) -> str:
        return self._constant(f"shape{dims}", np.array(dims))

    def _constant(self, name: str, value: Any) -> str:
        self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name
