"""The table of datatypes, against ONNX's own numbers and ONNX Runtime's own names."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from steelyard.models.datatypes import BY_NAME, BY_ONNX_TYPE, DATATYPES


def test_every_datatype_of_the_protocol_is_there_once():
    names = ["BOOL", "BYTES", "BF16", "FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64"]
    names += ["UINT8", "UINT16", "UINT32", "UINT64"]
    assert sorted(BY_NAME) == sorted(names)
    assert len(BY_ONNX_TYPE) == len(DATATYPES) == len(names)


@pytest.mark.parametrize("datatype", DATATYPES, ids=lambda datatype: datatype.name)
def test_onnx_runtime_calls_it_so(datatype):
    value = helper.make_tensor_value_info("x", datatype.element_type, ["n"])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value],
        [helper.make_tensor_value_info("y", datatype.element_type, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == datatype.onnx_type


@pytest.mark.parametrize("datatype", DATATYPES, ids=lambda datatype: datatype.name)
def test_bytes_of_an_element(datatype):
    if datatype.name == "BYTES":
        assert datatype.item_bytes == 0
        assert datatype.dtype == np.dtype(object)
        return
    assert datatype.item_bytes == datatype.dtype.itemsize
    if datatype.name != "BF16":
        assert helper.tensor_dtype_to_np_dtype(datatype.element_type) == datatype.dtype
