import math
import socket

import numpy as np
import pytest
import torch
from torch import multiprocessing
from torch.nn.functional import normalize

from geotoken.train.losses import gather, info_nce, num_processes, symmetric_info_nce


def vectors(*shape, seed):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1).double()


def loop(a, b, scale, ignored, more_b):
    """Plain loops over pairs and candidates."""
    keys = [*b, *more_b]
    total = 0.0
    for i in range(len(a)):
        for queries, among in ((a, keys), (b, list(a))):
            allowed = [j for j in range(len(among)) if j == i or not ignored[i][j]]
            weights = [
                math.exp(scale * sum(x * y for x, y in zip(queries[i], among[j], strict=True)))
                for j in allowed
            ]
            total -= math.log(weights[allowed.index(i)] / sum(weights)) / 2
    return total / len(a)


def test_the_loss_is_that_of_plain_loops():
    a, b, more = vectors(5, 3, seed=1), vectors(5, 3, seed=2), vectors(4, 3, seed=3)
    ignored = torch.rand(5, 9, generator=torch.Generator().manual_seed(4)) < 0.3
    found = symmetric_info_nce(a, b, torch.tensor(7.0).double(), ignored=ignored, more_b=more)
    expected = loop(a.tolist(), b.tolist(), 7.0, ignored.tolist(), more.tolist())
    assert found.item() == pytest.approx(expected, rel=1e-12)
    bare = symmetric_info_nce(a, b, torch.tensor(7.0).double())
    assert bare.item() == pytest.approx(loop(a.tolist(), b.tolist(), 7.0, [[False] * 5] * 5, []), rel=1e-12)


def test_what_is_ignored_has_no_gradient_and_ones_own_key_is_never_ignored():
    queries = vectors(2, 4, seed=1)
    keys = vectors(3, 4, seed=2).requires_grad_()
    ignored = torch.tensor([[True, False, True], [False, True, True]])
    info_nce(queries, keys, torch.tensor([0, 1]), torch.tensor(5.0), ignored).backward()
    assert keys.grad[2].abs().max() == 0
    assert keys.grad[:2].abs().max() > 0
    alone = torch.ones(2, 3, dtype=torch.bool)
    assert info_nce(queries, keys, torch.tensor([0, 1]), torch.tensor(5.0), alone).item() == 0


def test_one_process_gathers_nothing():
    rows = torch.randn(3, 2)
    assert gather(rows) is rows
    assert num_processes() == 1


def _share(rank, port, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    weight = torch.eye(3, dtype=torch.float64).requires_grad_()
    mine = slice(4 * rank, 4 * rank + 4)
    a, b = vectors(8, 3, seed=1)[mine], vectors(8, 3, seed=2)[mine]
    ignored = torch.rand(8, 13, generator=torch.Generator().manual_seed(4)) < 0.3
    loss = symmetric_info_nce(
        normalize(a @ weight, dim=1),
        normalize(b @ weight.T, dim=1),
        torch.tensor(6.0).double(),
        first=4 * rank,
        ignored=ignored[mine],
        more_b=normalize(vectors(5, 3, seed=3) @ weight, dim=1),
    )
    loss.backward()
    assert gather(torch.tensor([rank])).tolist() == [0, 1]
    alone = symmetric_info_nce(a, b, torch.tensor(6.0).double(), alone=True)
    expected = loop(a.tolist(), b.tolist(), 6.0, [[False] * 4] * 4, [])
    assert alone.item() == pytest.approx(expected, rel=1e-12)
    np.savez(folder / f"{rank}.npz", loss=loss.item(), gradient=weight.grad.numpy())
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_mean_loss_and_gradient_of_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(_share, (port, tmp_path), nprocs=2)
    parts = [np.load(tmp_path / f"{rank}.npz") for rank in range(2)]
    weight = torch.eye(3, dtype=torch.float64).requires_grad_()
    ignored = torch.rand(8, 13, generator=torch.Generator().manual_seed(4)) < 0.3
    whole = symmetric_info_nce(
        normalize(vectors(8, 3, seed=1) @ weight, dim=1),
        normalize(vectors(8, 3, seed=2) @ weight.T, dim=1),
        torch.tensor(6.0).double(),
        ignored=ignored,
        more_b=normalize(vectors(5, 3, seed=3) @ weight, dim=1),
    )
    whole.backward()
    assert np.mean([part["loss"] for part in parts]) == pytest.approx(whole.item(), rel=1e-12)
    gradient = np.mean([part["gradient"] for part in parts], axis=0)
    np.testing.assert_allclose(gradient, weight.grad.numpy(), atol=1e-12)
