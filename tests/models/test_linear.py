"""Linear and NormLinear against weights that are built row by row."""

from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import row_norm, weight_of

from psilon_bench.models.linear import SHORTEST, Linear, NormLinear

SHAPES = [(3, 5), (7, 2), (1, 4), (6, 1)]
KINDS: list[tuple[Literal[1, 2], bool]] = [(q, share) for q in (1, 2) for share in (True, False)]


def layer(fan_in: int, fan_out: int, q: Literal[1, 2], share: bool, seed: int = 0) -> NormLinear:
    """Random directions of very different sizes, lengths of both signs, one of them 0."""
    torch.manual_seed(seed)
    made = NormLinear(fan_in, fan_out, q, share).double()
    with torch.no_grad():
        made.v.mul_(10 ** torch.linspace(-6, 6, fan_out)[:, None]).add_(torch.randn_like(made.v))
        made.g.copy_(-1.7 * torch.ones(1) if share else torch.linspace(-2, 3, fan_out) * (torch.arange(fan_out) != 1))
        made.bias.normal_()
    return made


@pytest.mark.parametrize(("q", "share"), KINDS)
@pytest.mark.parametrize(("fan_in", "fan_out"), SHAPES)
class TestNormLinear:
    def test_forward_is_that_of_the_built_weights(self, fan_in: Any, fan_out: Any, q: Any, share: Any) -> None:
        """z = x W^T + b, and `weight` is W."""
        one, x = layer(fan_in, fan_out, q, share), torch.randn(9, fan_in).double()
        torch.testing.assert_close(one.weight, weight_of(one), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(one(x), x @ weight_of(one).T + one.bias, rtol=1e-12, atol=1e-12)

    def test_rows_have_the_length_g(self, fan_in: Any, fan_out: Any, q: Any, share: Any) -> None:
        """||W_j||_q = |g_j|, whatever the size of v_j and the sign of g_j."""
        one = layer(fan_in, fan_out, q, share)
        lengths = torch.stack([row_norm(row, q) for row in one.weight])
        torch.testing.assert_close(lengths, one.g.abs().expand(fan_out), rtol=1e-12, atol=0)

    def test_the_size_of_a_direction_does_not_matter(self, fan_in: Any, fan_out: Any, q: Any, share: Any) -> None:
        """v_j -> c_j v_j with c_j > 0 leaves the function as it is; c_j < 0 turns the row's sign."""
        one, x = layer(fan_in, fan_out, q, share), torch.randn(4, fan_in).double()
        before = one(x) - one.bias
        factor = torch.linspace(-3, 5, fan_out).double()
        factor[factor == 0] = 1
        with torch.no_grad():
            one.v.mul_(factor[:, None])
        torch.testing.assert_close(one(x) - one.bias, before * factor.sign(), rtol=1e-12, atol=1e-13)

    @pytest.mark.parametrize("p", [1, 1.5, 2])
    def test_power_sum_is_that_of_the_built_weights(
        self, fan_in: Any, fan_out: Any, q: Any, share: Any, p: Any
    ) -> None:
        """power_sum(p) = sum_ij |W_ij|^p, with its gradient, biases excluded."""
        one = layer(fan_in, fan_out, q, share)
        with torch.no_grad():
            one.g[one.g == 0] = 0.4  # |0|^1.5 built from entries has no gradient to compare
            one.v[one.v.abs() < 1e-9] = 0.1
        slow = sum(entry.abs() ** p for entry in weight_of(one).flatten())
        torch.testing.assert_close(one.power_sum(p), slow, rtol=1e-12, atol=0)
        own = torch.autograd.grad(one.power_sum(p), [one.v, one.g], allow_unused=True, materialize_grads=True)
        theirs = torch.autograd.grad(slow, [one.v, one.g])
        for fast, expected, size in zip(own, theirs, [one.v.detach(), torch.ones(1)], strict=True):
            torch.testing.assert_close(fast * size, expected * size, rtol=1e-9, atol=1e-12)

    def test_gradients_are_right(self, fan_in: Any, fan_out: Any, q: Any, share: Any) -> None:
        """torch's gradcheck of the function of x, v, g and b."""
        one = NormLinear(fan_in, fan_out, q, share).double()
        names, values = zip(*one.named_parameters(), strict=True)
        x = torch.randn(3, fan_in).double().requires_grad_()

        def function(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(one, dict(zip(names, parameters, strict=True)), (x,))

        own = [(0.5 + torch.rand_like(value)).requires_grad_() for value in values]
        assert torch.autograd.gradcheck(function, (x, *own))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_zero_row_has_zero_weights_and_finite_gradients(
        self, fan_in: Any, fan_out: Any, q: Any, share: Any, dtype: Any
    ) -> None:
        """v_j = 0: W_j = 0 and z_j = b_j for lengths of any size, and no gradient is infinite or NaN."""
        one = layer(fan_in, fan_out, q, share).to(dtype)
        with torch.no_grad():
            one.v[0] = 0
            one.g.fill_(1e3)
        z = one(torch.randn(50, fan_in, dtype=dtype) * 100)
        assert torch.equal(one.weight[0], torch.zeros(fan_in, dtype=dtype))
        assert torch.equal(z[:, 0], one.bias[0].expand(50))
        (z.square().sum() + one.power_sum(1) + one.power_sum(2) + one.power_sum(1.5)).backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in one.parameters())

    def test_start(self, fan_in: Any, fan_out: Any, q: Any, share: Any) -> None:
        """V has orthonormal rows (or columns where they are fewer), g = 1, b = 0."""
        one = NormLinear(fan_in, fan_out, q, share).double()
        gram = one.v @ one.v.T if fan_out <= fan_in else one.v.T @ one.v
        torch.testing.assert_close(gram, torch.eye(len(gram)).double(), atol=1e-6, rtol=0)
        assert torch.equal(one.g, torch.ones(1 if share else fan_out).double())
        assert not one.bias.any()


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=4),
    g=st.floats(-1e3, 1e3),
    q=st.sampled_from([1, 2]),
)
def test_any_numbers_make_finite_weights_of_length_g(rows: Any, g: Any, q: Any) -> None:
    """||W_j||_q = |g| for every v_j of at least SHORTEST; a shorter one is multiplied by g, not divided."""
    one = NormLinear(3, len(rows), q, share=True).double()
    with torch.no_grad():
        one.v.copy_(torch.tensor(rows, dtype=torch.float64))
        one.g.fill_(g)
    assert one.weight.isfinite().all()
    for row, weight in zip(rows, one.weight, strict=True):
        if not any(row):
            assert not weight.any()
        elif max(map(abs, row)) >= SHORTEST:
            assert row_norm(weight, q).item() == pytest.approx(abs(g), rel=1e-9)
        elif 3 * max(map(abs, row)) < SHORTEST:
            expected = g * torch.tensor(row, dtype=torch.float64)
            torch.testing.assert_close(weight, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("p", [1, 1.5, 2])
def test_power_sum_of_a_plain_layer(p: Any) -> None:
    """sum_ij |W_ij|^p, the bias excluded."""
    one = Linear(4, 3).double()
    torch.nn.init.ones_(one.bias)
    expected = sum(abs(w) ** p for w in one.weight.flatten().tolist())
    assert one.power_sum(p).item() == pytest.approx(expected, rel=1e-12)


def test_kaiming_start_has_variance_two_over_fan_in() -> None:
    """He et al. 2015, equation 10: the variance of W is 2 / fan_in, of a V as well."""
    torch.manual_seed(0)
    for weight in (Linear(50, 400, "kaiming").weight, NormLinear(50, 400, 1, True, "kaiming").v):
        assert weight.var().item() == pytest.approx(2 / 50, rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=0.01)


def test_reset_parameters_draws_anew() -> None:
    """Another start, the same g and b, from torch's global generator alone."""
    one = layer(5, 4, 1, True)
    torch.manual_seed(3)
    one.reset_parameters()
    first = {name: value.clone() for name, value in one.state_dict().items()}
    one.reset_parameters()
    assert not torch.equal(one.v, first["v"])
    assert torch.equal(one.g, first["g"])
    torch.manual_seed(3)
    one.reset_parameters()
    assert all(torch.equal(value, first[name]) for name, value in one.state_dict().items())
