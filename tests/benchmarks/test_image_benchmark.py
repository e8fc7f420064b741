"""The quick form of the image benchmark: that it runs, and that our tensors are Pillow's."""

import pytest


@pytest.mark.extra
def test_image_chains() -> None:
    from benchmarks import image

    found = image.run(rounds=2)
    # The two normalise in a different order, which single precision shows; levels are the same.
    assert max(found["differs_levels"].values()) < 1e-3
    assert len(image.report(found)) == 3 + sum(1 + len(rows) for rows in found["ms"].values())
