"""What several processes share, with real ones; and that one alone shares nothing."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from model.runtime.parallel import Processes, join_processes

ROOT = Path(__file__).parents[4]

# Each process asserts; torchrun fails where one of them does.
PROGRAM = """
import torch
from torch import nn
from model.errors import InputError
from model.runtime.parallel import join_processes
from model.runtime.runtime import open_runtime

with open_runtime("cpu") as runtime:
    processes = runtime.processes
    rank = processes.rank
    assert (processes.size, processes.leads) == (2, rank == 0)
    assert processes.gather(f"from {rank}") == ["from 0", "from 1"]
    assert processes.from_leader({"rank": rank}) == {"rank": 0}

    module = nn.Linear(2, 3)
    nn.init.constant_(module.weight, rank)
    processes.start_alike(module)
    assert module.weight.eq(0).all()

    # One dense gradient, one with rows of its own in each process, one that only one process has,
    # and one that there is not.
    dense, table, partly, unused = (nn.Parameter(torch.zeros(4, 2)) for _ in range(4))
    if rank == 1:
        partly.grad = torch.full((4, 2), 3.0)
    dense.grad = torch.full((4, 2), 1.0 + rank)
    rows = [[1], [1, 3]][rank]
    values = torch.full((len(rows), 2), 4.0 + rank)
    table.grad = torch.sparse_coo_tensor([rows], values, (4, 2), check_invariants=False)
    parameters = [dense, table, partly, unused]
    numbers = processes.average_gradients(parameters, torch.tensor([1.0, rank]))
    assert numbers.tolist() == [1.0, 0.5]
    assert dense.grad.eq(1.5).all()
    assert table.grad.is_sparse and table.grad.is_coalesced()
    assert table.grad.to_dense()[:, 0].tolist() == [0.0, 4.5, 0.0, 2.5]
    assert partly.grad.eq(1.5).all()
    assert unused.grad is None

    assert runtime.lead(lambda: rank) == 0
    try:
        runtime.lead(lambda: (_ for _ in ()).throw(InputError("no")))
    except InputError as error:
        assert str(error) == "no"
    else:
        raise AssertionError
"""


def test_two_processes_share_gradients_decisions_and_errors(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(script)),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_one_process_alone_leads_and_waits_for_nobody() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, 3.0])
    with join_processes(torch.device("cpu")) as processes:
        assert processes.leads
        assert processes.gather(3) == [3]
        assert processes.from_leader("x") == "x"
        assert processes.average_gradients([parameter], torch.ones(2)).tolist() == [1, 1]
    assert parameter.grad.tolist() == [1, 3]
    assert not torch.distributed.is_initialized()


def test_the_first_process_leads() -> None:
    assert [Processes(rank, 2).leads for rank in (0, 1)] == [True, False]
