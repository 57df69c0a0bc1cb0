"""Only what the last position needs is computed of the last layer, and what is asked for stays the same."""

import pytest
import torch
from torch.nn import functional

from perfsuite.models import split as of_model
from perfsuite.models.ranks import Seat
from perfsuite.models.split import SummedLinear
from perfsuite.strategies._fusion import fuse_projections, keep_rotations
from perfsuite.strategies._last_position import compute_last_position_only
from perfsuite.strategies._skinny import use_skinny_products
from perfsuite.strategies._static import StaticForward, use_static_attention
from tests.strategies.families import STATIC, small_model

TABLE = torch.randn((64, 8), generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn((8, 8), generator=torch.Generator().manual_seed(0))


def traced(run):
    """The function as the pass makes it, how many nodes that spares, and the rows of each product whenever it runs."""
    spared, rows = [], []

    class Watched(torch.fx.Interpreter):
        def call_function(self, target, args, kwargs):
            if target is functional.linear or str(target).startswith("perfsuite.skinny_linear"):
                rows.append(args[0].shape[1])
            return super().call_function(target, args, kwargs)

    def backend(graph, inputs):
        spared.append(compute_last_position_only(graph))
        return lambda *inputs: Watched(graph).run(*inputs)

    compiled = torch.compile(run, backend=backend, fullgraph=True, dynamic=False)

    def run_compiled(states):
        if states.shape[1] > 1:
            torch._dynamo.mark_dynamic(states, 1)
        return compiled(states)

    return run_compiled, spared, rows


def check(run, spared_at_least, spared_at_most=1000):
    torch._dynamo.reset()
    states = torch.randn((1, 5, 8), generator=torch.Generator().manual_seed(1))
    compiled, spared, _ = traced(run)
    assert torch.allclose(compiled(states), run(states), atol=1e-6)
    assert spared_at_least <= spared[0] <= spared_at_most


def test_what_goes_row_by_row_is_computed_for_the_last_row():
    check(lambda states: functional.linear(functional.silu(states) * 2, WEIGHT)[:, slice(-1, None), :], 3)


def test_what_mixes_rows_is_left_as_it_is():
    check(lambda states: states.cumsum(1)[:, slice(-1, None), :], 0, 0)
    check(lambda states: functional.silu(states.flip(1))[:, slice(-1, None), :], 1, 1)


def test_what_is_read_elsewhere_too_is_left_as_it_is():
    def run(states):
        wide = functional.silu(states)
        return wide[:, slice(-1, None), :] + wide.sum(1, keepdim=True)

    check(run, 0, 0)


def test_parts_are_spared_together_or_not_at_all():
    def both(states):
        gate, up = functional.linear(states, WEIGHT).split([4, 4], dim=-1)
        return (functional.silu(gate) * up)[:, slice(-1, None), :]

    def one(states):
        gate, up = functional.linear(states, WEIGHT).split([4, 4], dim=-1)
        return functional.silu(gate)[:, slice(-1, None), :] + up.sum(1, keepdim=True)

    check(both, 6)
    check(one, 1, 1)


def test_what_is_added_to_every_row_alike_must_not_depend_on_the_length():
    def by_position(states):
        return (states + TABLE[: states.shape[1]])[:, slice(-1, None), :]

    check(by_position, 0, 0)


def test_a_mean_over_rows_is_not_one_over_a_row():
    check(lambda states: (states * states.mean(1, keepdim=True))[:, slice(-1, None), :], 1, 1)
    check(lambda states: (states * states.pow(2).mean(-1, keepdim=True))[:, slice(-1, None), :], 3)


@pytest.mark.parametrize("kind", STATIC)
def test_a_model_says_what_it_said_and_multiplies_one_row_after_its_last_attention(kind):
    torch._dynamo.reset()
    model = small_model(kind).bfloat16()
    use_static_attention(model)
    expected = StaticForward(model, 32)
    ids = torch.randint(3, 250, (1, 12), generator=torch.Generator().manual_seed(0))
    wanted = [expected.prefill(ids), expected.decode(ids[:, :1])]
    fuse_projections(model)
    use_skinny_products(model)
    keep_rotations(model)
    rows = []

    def compile_pass(run):
        compiled, _, seen = traced(run)
        rows.append(seen)
        is_laid_out = []

        def run_compiled(given):
            if not is_laid_out:
                is_laid_out.append(run(given))
            return compiled(given)

        return run_compiled

    ours = StaticForward(model, 32, compile_pass)
    got = [ours.prefill(ids), ours.decode(ids[:, :1])]
    for mine, theirs in zip(got, wanted, strict=True):
        assert (mine - theirs).abs().max() <= 0.03 * theirs.abs().max()
    if kind != "gpt2":  # its layers are no Linear
        assert rows[0][-5:] == [12, 1, 1, 1, 1]  # all rows of queries, keys, values; then one


def test_a_sum_over_ranks_is_of_the_last_row_where_only_that_is_read(monkeypatch):
    """Of one rank that meets nobody the sum is itself; the product before it has one row, and so has what is sent."""
    torch._dynamo.reset()
    sent = []
    monkeypatch.setattr(of_model, "add_up", lambda partial: sent.append(partial.shape[1]))
    linear = torch.nn.Linear(8, 8, bias=False)
    summed = SummedLinear(linear, Seat(rank=0, size=1)).requires_grad_(False)
    compiled, _, rows = traced(lambda states: (states + summed(functional.silu(states)))[:, slice(-1, None), :])
    states = torch.randn((1, 5, 8), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        said = compiled(states)
        assert torch.allclose(said, (states + linear(functional.silu(states)))[:, -1:], atol=1e-6)
    assert (rows[-1], sent[-1]) == (1, 1)
