"""What a manifest says of tabular input: its columns, and the features that are made of them."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from steelyard.models.contract import Contract
from steelyard.models.table import Table
from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.steps import Step, parse_steps

# Bounds on what one manifest may ask for; the largest public tables have some thousands of columns.
MAX_COLUMNS = 65_536
MAX_FEATURES = 65_536
MAX_STEPS = 64

Name = Annotated[str, Field(min_length=1, max_length=1024)]
KindName = Literal["number", "integer", "boolean", "text", "date"]


class ColumnTable(Table):
    """`[[column]]`: a column that callers send."""

    name: Name = Field(description="The key in JSON, the field in Arrow, or the tensor's name.")
    kind: KindName = Field(description="number, integer, boolean, text or date.")
    required: bool = Field(
        default=True, description="Whether each row must have it; else a row without it has a missing value."
    )
    missing_texts: tuple[Annotated[str, Field(max_length=1024)], ...] = Field(
        default=(),
        max_length=64,
        strict=False,
        description='Texts that mean a missing value, such as "" or "NA".',
    )
    contract: Contract = Field(default=Contract(), description="What its values keep to.")

    @model_validator(mode="after")
    def _texts_of_text(self) -> Self:
        if self.missing_texts and self.kind != "text":
            raise ValueError(f"missing_texts: expected only of kind text, got kind {self.kind}")
        return self

    @property
    def column_kind(self) -> Kind:
        return Kind[self.kind.upper()]


class FeatureTable(Table):
    """`[[tensor.feature]]`: steps from a column to one or more places of the tensor."""

    column: Name | None = Field(default=None, description="The column that it is made of.")
    columns: tuple[Name, ...] = Field(
        default=(),
        max_length=MAX_FEATURES,
        strict=False,
        description="Columns that each go through the same steps.",
    )
    steps: Annotated[tuple[Step, ...], BeforeValidator(parse_steps)] = Field(
        default=(), max_length=MAX_STEPS, description="The steps in order; none: the value as it is."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (not self.columns):
            raise ValueError("expected either column or columns")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        return self.columns if self.column is None else (self.column,)


class TensorTable(Table):
    """`[[tensor]]`: a tensor of the model's, [rows, features]."""

    name: Name = Field(description="The model's tensor.")
    datatype: Literal["FP32", "FP64", "INT64"] = Field(default="FP32", description="Its datatype.")
    feature: tuple[FeatureTable, ...] = Field(
        max_length=MAX_FEATURES, strict=False, description="Its features in order."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.feature:
            raise ValueError("feature: expected at least one")
        return self


class TabularTable(Table):
    """Tabular input: how rows come, their columns, and the tensors made of them."""

    rows: Literal["columns", "json", "arrow"] = Field(
        default="columns",
        description="columns: a tensor a column; json: one BYTES tensor of objects; arrow: one IPC stream.",
    )
    column: tuple[ColumnTable, ...] = Field(max_length=MAX_COLUMNS, strict=False)
    tensor: tuple[TensorTable, ...] = Field(max_length=1024, strict=False)

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        for what, names in (
            ("column", [column.name for column in self.column]),
            ("tensor", [tensor.name for tensor in self.tensor]),
        ):
            if not names:
                raise ValueError(f"{what}: expected at least one")
            name, times = Counter(names).most_common(1)[0]
            if times > 1:
                raise ValueError(f"{what} '{name}' is described twice")
        return self
