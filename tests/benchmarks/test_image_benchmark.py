"""The quick form of the image benchmark: that it runs, and that our tensors are Pillow's."""

import pytest


@pytest.mark.extra
def test_image_chains() -> None:
    from benchmarks import image

    found = image.run(rounds=2)
    assert len(found) == len(image.NOISES)
    for result in found.values():
        # The two normalise in a different order, which single precision shows; levels are the same.
        assert max(result["differs_levels"].values()) < 1e-3
    assert any("decoded whole" in line for line in image.report(found))
