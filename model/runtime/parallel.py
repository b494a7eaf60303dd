"""Several processes that train one encoder: each draws a part of every batch.

``torchrun`` starts them. They begin with the same weights and take the same steps, with the mean of
their gradients; so their weights stay equal to the last bit. The first process leads: it alone
validates, saves and tells.

The encoder's parameters are used through several of its methods, which a wrapper around
``forward`` would not see; gradients are therefore averaged here, after the backward pass.
"""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional

T = TypeVar("T")

_PATIENCE = datetime.timedelta(days=7)  # the leader's validation and yardsticks take their time


class Processes:
    """The processes of this training, seen from one of them. By default there is no other.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def from_leader(self, value: T) -> T:
        """Return the leader's value in every process; all call it together."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank; all call it together."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return cast(list[T], values)

    @torch.no_grad()
    def start_alike(self, module: nn.Module) -> None:
        """Give a module of each process the leader's parameters."""
        if self.size > 1:
            for parameter in module.parameters():
                dist.broadcast(parameter, src=0)

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[nn.Parameter], numbers: Tensor) -> Tensor:
        """Replace gradients by their mean over all processes; average some numbers on the way.

        Args:
            parameters: The same ones, with and without gradients, in every process.
            numbers: Shape (n,), float32.

        Returns:
            The mean of ``numbers``. Shape (n,), float32.
        """
        if self.size == 1:
            return numbers
        # On the CPU: nothing has to wait for a GPU.
        has_gradient = torch.tensor([float(each.grad is not None) for each in parameters])
        dist.all_reduce(has_gradient, dist.ReduceOp.MAX)
        dense = []
        for parameter, anywhere in zip(parameters, has_gradient.tolist(), strict=True):
            if not anywhere:
                continue
            if parameter.grad is None:  # what it belongs to had nothing to do in this process
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad.is_sparse:
                parameter.grad = self._average_rows(parameter.grad)
            else:
                dense.append(parameter.grad)
        together = torch.cat([numbers, *(gradient.flatten() for gradient in dense)])
        dist.all_reduce(together)
        together /= self.size
        sizes = [gradient.numel() for gradient in dense]
        numbers, *means = torch.split(together, [len(numbers), *sizes])
        for gradient, mean in zip(dense, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        return numbers

    def _average_rows(self, gradient: Tensor) -> Tensor:
        """Average a gradient that has rows only where they are in use; no other row is sent."""
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        counts = [int(count) for count in self._gather_alike(rows.new_tensor([len(rows)]))]
        missing = max(counts) - len(rows)
        all_rows = self._gather_alike(functional.pad(rows, (0, missing)))
        all_values = self._gather_alike(functional.pad(values, (0, 0, 0, missing)))
        return torch.sparse_coo_tensor(
            torch.cat([each[:n] for each, n in zip(all_rows, counts, strict=True)]).unsqueeze(0),
            torch.cat([each[:n] for each, n in zip(all_values, counts, strict=True)]) / self.size,
            gradient.shape,
            check_invariants=False,
        ).coalesce()

    def _gather_alike(self, tensor: Tensor) -> list[Tensor]:
        """Gather tensors of one shape, by rank."""
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(gathered, tensor.contiguous())
        return gathered


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Join the others where ``torchrun`` started this process, for as long as the context lasts.

    Args:
        device: Of this process.
    """
    if not dist.is_torchelastic_launched():
        yield Processes()
        return
    # Python objects always go by gloo, over the CPU.
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
