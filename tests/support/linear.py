"""Whether a history of concurrent operations can be explained by one after the other.

A history is linearizable if every operation can be given one moment between its call and its
return, such that a sequential model that does them in the order of these moments gives the same
answers (Herlihy and Wing, 1990). The search is that of Wing and Gong (1993): take any operation
that no other one precedes, do it on the model, go on with the rest; states seen are not searched
again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One operation: when it was called and returned (on one clock), what it did and answered."""

    begin: int
    end: int
    name: str
    argument: Any
    answer: Any


Step = Callable[[Any, str, Any], tuple[Any, Any]]
"""``step(state, name, argument)`` returns the answer of the model and its new state."""


def is_linearizable(history: Sequence[Call], initial: Hashable, step: Step) -> bool:
    """Return whether some order of *history* is one that the model would answer so."""
    everything = frozenset(range(len(history)))
    seen: set[tuple[frozenset[int], Hashable]] = set()
    open_nodes: list[tuple[frozenset[int], Hashable]] = [(everything, initial)]
    while open_nodes:
        left, state = open_nodes.pop()
        if not left:
            return True
        first_end = min(history[i].end for i in left)
        for i in left:
            call = history[i]
            if call.begin > first_end:  # another one returned before this was called
                continue
            answer, after = step(state, call.name, call.argument)
            node = (left - {i}, after)
            if answer == call.answer and node not in seen:
                seen.add(node)
                open_nodes.append(node)
    return False
