"""A product made in parts is the product."""

from collections.abc import Iterator

import pytest
import torch

from trainer.products import ROWS, add_product, linear


@pytest.fixture(params=[1, 2], ids="threads={}".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, ROWS, ROWS + 1, 2 * ROWS + 3])
@pytest.mark.parametrize("columns", [3, ROWS, ROWS + 1, 2 * ROWS + 3])
@pytest.mark.parametrize("has_bias", [False, True], ids=["without bias", "with bias"])
def test_whatever_the_shape_it_is_what_torch_makes_at_once(
    threads: int, rows: int, columns: int, has_bias: bool
) -> None:
    torch.manual_seed(0)
    inputs, weight, total = torch.randn(rows, 8), torch.randn(columns, 8), torch.randn(rows, columns)
    bias = torch.randn(columns) if has_bias else None
    torch.testing.assert_close(linear(inputs, weight, bias), torch.nn.functional.linear(inputs, weight, bias))
    expected = total + inputs @ weight.t()
    add_product(total, inputs, weight.t())
    torch.testing.assert_close(total, expected)
