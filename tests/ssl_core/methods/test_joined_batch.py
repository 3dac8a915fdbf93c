"""Two processes with different data equal one process on the joined batch: loss, gradients, batch norm."""

from __future__ import annotations

import pytest
import torch
from joined_batch import all_cases, joined_batches
from training_case import CURVES


@pytest.fixture(scope="module")
def results(two_workers):
    """(what one process gives on the joined batch, what each of two gives on its half)."""
    two = [torch.load(two_workers / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    return all_cases(joined_batches(12)), two


@pytest.mark.slow
@pytest.mark.parametrize("method", CURVES)
def test_loss_of_two_processes_is_that_of_the_joined_batch(results, method):
    one, two = results
    for half in two:
        torch.testing.assert_close(half[method]["loss"], one[method]["loss"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", CURVES)
def test_parameter_gradients_of_two_processes_are_those_of_the_joined_batch(results, method):
    one, two = results
    expected = one[method]["gradients"]
    undone = {"head.0.bias", "predictor.0.bias"} if method == "byol" else set()  # by the batch norm after it
    moved = [name for name in expected if name not in undone]
    assert all(float(expected[name].norm()) > 1e-4 for name in moved), "a zero gradient proves nothing"
    for half in two:
        for name, gradient in half[method]["gradients"].items():
            if method != "byol":
                torch.testing.assert_close(
                    gradient, expected[name], rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
                )
                continue
            # By norms: rounding may flip a ReLU that is all but zero, which moves a gradient by some 1e-4.
            error = float((gradient - expected[name]).norm())
            assert error < 1e-3 * float(expected[name].norm()) + 1e-6, name


@pytest.mark.parametrize("method", CURVES)
def test_running_statistics_slow_copies_and_queues_are_global(results, method):
    """The same on both workers bit for bit, and those of one process up to rounding."""
    one, two = results
    assert one[method]["state"].keys() == two[0][method]["state"].keys()
    for half in two:
        for name, value in half[method]["state"].items():
            assert torch.equal(value, two[0][method]["state"][name]), name
            torch.testing.assert_close(value, one[method]["state"][name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["maps", "vectors"])
@pytest.mark.parametrize("what", ["outputs", "input_gradients"])
def test_global_batch_norm_per_image(results, case, what):
    one, two = results
    joined = torch.cat([half[case][what] for half in two], dim=1)
    torch.testing.assert_close(joined, one[case][what], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("case", ["maps", "vectors"])
def test_global_batch_norm_gradients_and_statistics(results, case):
    one, two = results
    for half in two:
        torch.testing.assert_close(half[case]["gradients"], one[case]["gradients"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(half[case]["state"], one[case]["state"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["maps", "vectors"])
def test_global_batch_norm_in_eval_mode_is_plain(results, case):
    one, two = results
    joined = torch.cat([half[case]["eval"] for half in two])
    torch.testing.assert_close(joined, one[case]["eval"], rtol=1e-4, atol=1e-5)
