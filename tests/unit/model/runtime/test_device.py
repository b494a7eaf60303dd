"""Which processor a training takes. There is no GPU here: that it exists is pretended."""

import pytest
import torch

from model.errors import InputError
from model.runtime.device import choose_device, describe_device, mixed_precision


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_it_is_the_cpu_unless_a_gpu_was_asked_for() -> None:
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=r"--device cuda: 0 GPU\(s\) here, .* pass --device cpu"):
        choose_device("cuda")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("rank", [0, 1])
def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(rank))

    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", rank)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_described_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")

    described = describe_device(torch.device("cuda", 1))

    assert described == {"device": "GPU 1", "torch": torch.__version__}
    assert describe_device(torch.device("cpu"))["device"] == "a CPU"


@pytest.mark.usefixtures("two_gpus")
def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")

    with pytest.raises(InputError, match=r"2 GPU\(s\) here, and this is process 3"):
        choose_device("auto")


def test_on_a_cpu_products_stay_in_single_precision() -> None:
    with mixed_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
