"""An optimiser's state leaves and comes back; what belongs to another network is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.optimizer_state import restore, tensors_of


def stepped() -> torch.optim.AdamW:
    """AdamW over a weight (2, 3) and a bias (2,), after one step."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer


def test_it_comes_back_as_it_was() -> None:
    one, other = stepped(), torch.optim.AdamW(nn.Linear(3, 2).parameters(), lr=0.3)
    restore(other, tensors_of(one))
    before, after = tensors_of(one), tensors_of(other)
    assert before.keys() == after.keys() >= {"0.step", "0.exp_avg", "1.exp_avg_sq"}
    assert [k for k in before if not torch.equal(before[k], after[k])] == []
    assert other.param_groups[0]["lr"] == 0.3


def test_what_was_there_before_is_gone() -> None:
    one = stepped()
    restore(one, {})
    assert tensors_of(one) == {}


@pytest.mark.parametrize(
    ("key", "shape"),
    [("0.exp_avg", (3, 2)), ("2.exp_avg", (2,)), ("x.step", ()), ("-1.step", ()), ("9" * 9, ())],
)
def test_what_is_of_another_network_is_named(key: str, shape: tuple[int, ...]) -> None:
    one = stepped()
    with pytest.raises(ValueError, match=f"the optimiser's {key} is of another network"):
        restore(one, tensors_of(one) | {key: torch.zeros(shape)})
    assert tensors_of(one).keys() >= {"0.exp_avg", "1.exp_avg"}
