"""One thread: these nets are tiny, and the other core may be running other tests."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> None:
    torch.set_num_threads(1)
