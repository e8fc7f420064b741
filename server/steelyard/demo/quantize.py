"""The model in eight bits: static quantization, calibrated on real files."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from steelyard.demo.features import Row

INPUT = "bytes"
CALIBRATION_FILES = 64

# In words, for the version's lineage.
RECIPE = (
    "onnxruntime.quantization.quantize_static: QDQ, Conv and MatMul, activations uint8, weights int8 by channel "
    "with reduced range, calibrated at percentile 99.999"
)


def quantize(model: Path, rows: Sequence[Row], target: Path) -> None:
    """Writes `model`, quantized, to `target`. rows: int32[2048] each, what its activations are measured on.

    Only the convolution and the two matrix products are quantized: they take the time. Weights have one scale a
    channel, and seven bits, because CPUs without VNNI add products of eight bits in sixteen and overflow. The
    percentile drops the few outliers that would leave everything else too few steps.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with _quiet():
        quantize_static(
            str(model),
            str(target),
            _reader(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": 99.999},
        )


def _reader(rows: Sequence[Row]) -> object:
    from onnxruntime.quantization import CalibrationDataReader

    class Rows(CalibrationDataReader):  # type: ignore[misc]
        """Hands out one row a run."""

        def __init__(self) -> None:
            self._rows = iter(rows)

        def get_next(self) -> dict[str, Row] | None:
            row = next(self._rows, None)
            return None if row is None else {INPUT: row[None]}

    return Rows()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer reports its steps with `print` and on the root logger."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        logging.disable(disabled)
