"""What a manifest says about tokenizing."""

from typing import Annotated, Literal

from pydantic import Field

from steelyard.models.table import Table
from steelyard.models.version_manifest import TensorName
from steelyard.toml import Bytes

# Beyond what any model attends to; a tensor of tokens has this many columns at most.
MAX_TOKENS = 1 << 20

# A tokenizer takes up to 0.6 µs a byte, and reads all of a text before it cuts it to `max_length` tokens. 64 KiB are
# 40 ms at worst, and more tokens than most models take; a text of 10 MB would hold a thread for six seconds.
MAX_TEXT_BYTES = 64 << 10

# The same over all texts of a request: a second and a half of one thread at worst.
MAX_REQUEST_TEXT_BYTES = 2 << 20

# What a row counts as in that, however short its text: an empty one takes as long as these many bytes.
ROW_TEXT_BYTES = 32


class TokenizeStep(Table):
    """Options of the step `tokenize`."""

    step: Literal["tokenize"]
    tokenizer: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        default="tokenizer.json", description="Path of the tokenizer's file in the version's directory."
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TOKENS,
        description="The most tokens of a row, special ones included; not given: the model's own length where that is "
        "fixed, else what the file says.",
    )
    truncation: Literal["longest_first", "only_first", "only_second", "never"] = Field(
        default="longest_first",
        description="Which text of a pair is cut to `max_length`; `never`: a longer row is refused.",
    )
    special_tokens: bool = Field(
        default=True, description="Whether the file's special tokens are added, such as [CLS] and [SEP]."
    )
    pair: TensorName | None = Field(
        default=None, description="The caller's tensor that holds the second text of each row."
    )
    fixed: bool = Field(
        default=False,
        description="Whether every row is padded to `max_length`, not to the longest of its request.",
    )
    length_multiple: int = Field(
        default=1,
        ge=1,
        le=MAX_TOKENS,
        description="Lengths are padded up to a multiple of this, so that requests of similar length share batches.",
    )
    pad_side: Literal["right", "left"] | None = Field(
        default=None, description="Where the padding stands; not given: what the file says, or right."
    )
    pad_id: int | None = Field(
        default=None, ge=0, lt=1 << 31, description="The token that pads; not given: what the file says."
    )
    ids: TensorName = Field(default="input_ids", description="The model's input for the tokens.")
    mask: TensorName | None = Field(
        default=None,
        description="The model's input that is 1 for a token, 0 for padding; not given: attention_mask, if it has one.",
    )
    types: TensorName | None = Field(
        default=None,
        description="The model's input for which text a token is of; not given: token_type_ids, if it has one.",
    )
    max_text: Bytes = Field(
        default=MAX_TEXT_BYTES, ge=1, le=1 << 30, description="Bytes of a row's texts; more are refused."
    )
    max_request: Bytes = Field(
        default=MAX_REQUEST_TEXT_BYTES,
        ge=1,
        le=1 << 31,
        description="Bytes of all texts of a request within `max_text`, each row at least 32; more are refused.",
    )
