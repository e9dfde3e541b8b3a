import torch

from geotoken.model.network.pointer import Pointer, consistent


def uniform(num_rows, size):
    return torch.full((num_rows, size), 1 / size).log()


@torch.no_grad()
def test_the_mixture_sums_to_one_and_copies_consistent_items_only(make_config):
    pointer = Pointer(make_config("pointer"))
    pointer.gate.bias.fill_(0.0)
    pointer.gate.weight.fill_(0.0)  # the gate is one half
    scores = torch.tensor([[0.0, 0.0, 9.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    copied = torch.tensor([[3, 3, 5], [1, 2, 3], [0, 1, 2]])
    match = torch.tensor([[True, True, False], [True, True, False], [False, False, False]])
    mixed = pointer.mix(uniform(3, 8), torch.randn(3, 32), scores, copied, match).exp()
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(mixed[0, 3], torch.tensor(0.5 + 0.5 / 8))
    torch.testing.assert_close(mixed[0, 5], torch.tensor(0.5 / 8))
    share = torch.tensor([0.0, 1.0]).softmax(0)
    torch.testing.assert_close(mixed[1, 1:3], 0.5 * share + 0.5 / 8)
    torch.testing.assert_close(mixed[2], torch.full((8,), 1 / 8))


def test_gradients_stay_finite_where_nothing_is_consistent(make_config):
    pointer = Pointer(make_config("pointer"))
    scores = torch.zeros(2, 3, requires_grad=True)
    match = torch.zeros(2, 3, dtype=torch.bool)
    mixed = pointer.mix(uniform(2, 4), torch.randn(2, 32), scores, torch.zeros(2, 3, dtype=torch.long), match)
    mixed.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert torch.isfinite(pointer.gate.weight.grad).all()


def test_items_are_consistent_up_to_the_first_difference():
    tokens = torch.tensor([[2, 1, 0, 7]])
    items = torch.tensor([[[2, 1, 0, 7], [2, 3, 0, 7], [1, 1, 0, 7], [2, 1, 0, 7]]])
    mask = torch.tensor([[True, True, True, False]])
    found = consistent(tokens, items, mask)[0].int().tolist()
    assert found == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
