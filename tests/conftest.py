"""The tests compute on the CPU: their numbers are the CPU's. What only a GPU can show is in test_cuda.py."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def on_the_cpu():
    """The lessons beside the tests keep the best device there is: pytest gives this fixture to the tests only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOUNDRY_DEVICE", "cpu")
        yield
