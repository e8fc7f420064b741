"""Both codecs, so that every test of one is a test of the other."""

from types import ModuleType

import pytest

from steelyard import wire
from steelyard.wire import plain


@pytest.fixture(params=[wire, plain], ids=["native", "plain"])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module
