"""Requests and cost: reserved at the most, settled at what it was."""

import asyncio

import pytest

from geotoken.mllm.answers import Reply
from geotoken.mllm.budget import Budget, most_cost
from geotoken.mllm.options import MllmOptions

OPTIONS = {"mode": "free", "url": "http://h/v1", "model": "m"}
PRICES = {"price_in": 1.0, "price_out": 10.0}
WHOLE = Reply(text="x", tokens_in=1_000_000, tokens_out=100_000)


def test_the_most_is_more_than_the_tokens_that_servers_count():
    options = MllmOptions(**OPTIONS, price_in=1e6, price_out=0.0, side=768)
    assert most_cost(options, 1000) == pytest.approx(500 + 768 * 768 / 196)
    assert most_cost(MllmOptions(**OPTIONS), 1000) == 0.0


@pytest.mark.parametrize(
    ("reply", "charged", "cost"),
    [(WHOLE, False, 2.0), (Reply(text="x"), False, 3.0), (None, True, 3.0), (None, False, 0.0)],
)
def test_what_was_reserved_is_replaced_by_what_it_cost(reply, charged, cost):
    async def run():
        budget = Budget(MllmOptions(**OPTIONS, **PRICES))
        assert await budget.reserve(3.0, repeated=False) == ""
        assert await budget.settle(3.0, reply, charged=charged) == cost
        return budget.spending

    spending = asyncio.run(run())
    assert (spending.num_requests, spending.cost) == (1, cost)


def test_who_does_not_fit_waits_for_others_to_turn_out_cheaper():
    async def run():
        budget = Budget(MllmOptions(**OPTIONS, **PRICES, max_cost=5.0))
        assert await budget.reserve(3.0, repeated=False) == ""
        second = asyncio.create_task(budget.reserve(3.0, repeated=True))
        await asyncio.sleep(0.01)
        assert not second.done()
        await budget.settle(3.0, WHOLE)
        assert await second == ""
        await budget.settle(3.0, None, charged=True)
        assert "--max-cost 5" in await budget.reserve(0.1, repeated=False)
        return budget.spending

    spending = asyncio.run(run())
    assert (spending.num_requests, spending.num_repeated, spending.cost) == (2, 1, 5.0)


def test_without_prices_the_cost_is_unknown():
    assert Budget(MllmOptions(**OPTIONS)).spending.cost is None
