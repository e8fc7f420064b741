"""Models that answer as a candidate had better not."""

import numpy as np
from onnx import TensorProto, helper

from tests.support.models import model, value

# From so many turns on, `patient` goes on turning for longer than any test waits.
ENDLESS = 1000


def patient(hangs: bool) -> bytes:
    """y = turns, INT64 [1] without a batch axis, after as many turns of a loop.

    Where it `hangs`, ENDLESS turns become some 10**12."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["more_out"]),
            helper.make_node("Add", ["sum", "one"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.INT64, [1]),
        ],
    )
    return model(
        [
            helper.make_node("Div", ["turns", "endless"], ["thousands"]),
            helper.make_node("Mul", ["thousands", "factor"], ["extra"]),
            helper.make_node("Add", ["turns", "extra"], ["all"]),
            helper.make_node("Reshape", ["all", "no_dims"], ["limit"]),
            helper.make_node("Loop", ["limit", "always", "start"], ["y"], body=body),
        ],
        [value("turns", "INT64", [1])],
        [value("y", "INT64", [1])],
        {
            "endless": np.array([ENDLESS], np.int64),
            "factor": np.array([10**12 if hangs else 0], np.int64),
            "no_dims": np.zeros((0,), np.int64),
            "always": np.asarray(True),
            "start": np.zeros((1,), np.int64),
            "one": np.ones((1,), np.int64),
        },
    )


def columns(kept: int) -> bytes:
    """y is the first `kept` columns of x: FP32 [batch, n], of which the graph does not say how many they are."""
    return model(
        [helper.make_node("Compress", ["x", "which"], ["y"], axis=1)],
        [value("x", "FP32", ("batch", 4))],
        [value("y", "FP32", ("batch", "width"))],
        {"which": np.arange(4) < kept},
    )
