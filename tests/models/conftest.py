import pytest


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Whatever a test of a model does, it does on one thread."""
