"""What may be spent, and what was: requests, tokens and cost, reserved before they are spent.

Owns the count; must not know requests. One event loop uses it.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from geotoken.mllm.answers import Reply
from geotoken.mllm.options import MllmOptions

_PER: Final = 1e6  # prices are of a million tokens
_PIXELS_PER_TOKEN: Final = 14 * 14
_LETTERS_PER_TOKEN: Final = 2


@dataclass(slots=True)
class Spending:
    """What a run has asked for so far."""

    num_requests: int = 0
    """Requests sent, repetitions included."""
    num_repeated: int = 0
    """Those of them that repeat another."""
    num_cached: int = 0
    """Answers known from an earlier run."""
    num_fallbacks: int = 0
    """Photos whose answer stayed geotoken's own."""
    cost: float | None = None
    """Price so far, in the currency of the prices; None without prices."""


def most_cost(options: MllmOptions, num_letters: int) -> float:
    """The most that a request can cost.

    Args:
        options: Prices, size of the picture and length of the answer.
        num_letters: Letters of the question; half of them are taken as its tokens, and 14 x 14 pixels of the
            picture as one, which is more than servers are known to count.

    Returns:
        A price; 0 without prices.
    """
    tokens_in = num_letters / _LETTERS_PER_TOKEN + options.side**2 / _PIXELS_PER_TOKEN
    return _price(options, tokens_in, options.max_tokens)


class Budget:
    """Limits on requests and cost. A request is reserved at the most that it can cost, then settled."""

    def __init__(self, options: MllmOptions) -> None:
        """Begin with nothing spent.

        Args:
            options: The limits and prices.
        """
        self.spending = Spending(cost=None if options.price_in is None else 0.0)
        self._options = options
        self._reserved: list[float] = []
        self._settled = asyncio.Condition()

    async def reserve(self, most: float, *, repeated: bool) -> str:
        """Reserve a request; if others under way may yet turn out cheaper, wait for them.

        Args:
            most: What it can cost at most.
            repeated: Whether it repeats another.

        Returns:
            Empty if it may be sent; else why not.
        """
        spending, options = self.spending, self._options
        async with self._settled:
            while True:
                if options.max_requests is not None and spending.num_requests >= options.max_requests:
                    return f"the limit of {options.max_requests:,} requests (--max-requests) was reached"
                spent = (spending.cost or 0.0) + sum(self._reserved)
                if options.max_cost is None or spent + most <= options.max_cost:
                    break
                if not self._reserved:
                    return f"the limit of cost (--max-cost {options.max_cost:g}) would be passed"
                await self._settled.wait()
            spending.num_requests += 1
            spending.num_repeated += repeated
            self._reserved.append(most)
            return ""

    async def settle(self, most: float, reply: Reply | None, *, charged: bool = False) -> float:
        """Replace what was reserved by what was spent.

        Args:
            most: What was reserved.
            reply: The answer; one without counts of tokens is taken to cost the most. None if there is none.
            charged: Whether the server may charge for a request that brought no answer: then it counts as the
                most, else as nothing.

        Returns:
            What it cost.
        """
        cost = most if charged else 0.0
        if reply is not None:
            known = reply.tokens_in is not None and reply.tokens_out is not None
            cost = _price(self._options, reply.tokens_in or 0, reply.tokens_out or 0) if known else most
        async with self._settled:
            self._reserved.remove(most)
            if self.spending.cost is not None:
                self.spending.cost += cost
            self._settled.notify_all()
        return cost


def _price(options: MllmOptions, tokens_in: float, tokens_out: float) -> float:
    return (tokens_in * (options.price_in or 0.0) + tokens_out * (options.price_out or 0.0)) / _PER
