"""What is noticed of operations that have no repeatable form; on a GPU `test_cuda_graphs.py` meets a real one."""

import warnings
from collections.abc import Callable
from threading import Thread

import pytest

from cifar_tune.cli.whole_process import silence_warnings
from cifar_tune.training.repeatability import UnrepeatableOperations, hide_torchs_words

TORCHS = (
    "{} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True, "
    "warn_only=True)'. You can file an issue at https://github.com/pytorch/pytorch/issues to help us prioritize adding "
    "deterministic support for this operation."
)


def test_each_operation_is_named_once_and_other_warnings_go_on() -> None:
    operations = UnrepeatableOperations()
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        for message in ("something else", *(TORCHS.format(name) for name in ("pool", "pool", "scatter_add"))):
            with operations.noticed():
                warnings.warn(message, stacklevel=1)
    assert [str(each.message) for each in others] == ["something else"]
    assert operations.words == (
        "the result is not repeatable on this GPU: PyTorch has no repeatable form of pool and scatter_add"
    )


def test_other_warnings_are_shown_at_once_and_as_often_as_elsewhere() -> None:
    """An epoch has hundreds of steps, and each may warn of the same."""

    def step(text: str) -> None:
        warnings.warn(text, stacklevel=1)

    operations = UnrepeatableOperations()
    with warnings.catch_warnings(record=True) as others:
        warnings.resetwarnings()  # as Python begins: each is shown once for its place
        with operations.noticed():
            for _ in range(3):
                step("something else")
                step(TORCHS.format("pool"))
            assert [str(each.message) for each in others] == ["something else"]
            other_thread = Thread(target=step, args=("from elsewhere",))
            other_thread.start()
            other_thread.join()
    assert [str(each.message) for each in others] == ["something else", "from elsewhere"]
    assert "pool" in operations.words


@pytest.mark.parametrize("hide", [hide_torchs_words, silence_warnings])
def test_torchs_own_words_are_hidden_in_our_processes(hide: Callable[[], None]) -> None:
    operations = UnrepeatableOperations()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        hide()
        with operations.noticed():
            warnings.warn(TORCHS.format("pool"), stacklevel=1)
        for message in (TORCHS.format("scatter_add"), "something else"):
            warnings.warn(message, stacklevel=1)
    assert [str(each.message) for each in shown] == ["something else"]
    assert operations.words.endswith("no repeatable form of pool")


def test_a_training_without_any_says_nothing() -> None:
    assert not UnrepeatableOperations().words
