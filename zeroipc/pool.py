"""A pool of elements in a named segment: any process allocates some and frees them.

Callers   any number of processes and threads, in any language
Progress  try_allocate and free never wait; allocate sleeps until an element is free
Crash     the list of free ones stays whole; what the dead had stays allocated until repair()
Bytes     POOL, then the nodes, see _core/named/layout.py
Source    SPECIFICATION.md, "Pool"

The protocol is in _core/named/pool.py. The format records neither who has a node nor whether it
is allocated, so a node freed twice would be handed out twice. What is done against it: a handle
frees its node once; its free also looks at the nodes that were freed last; and freeing by index
looks at all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from operator import index
from types import TracebackType
from typing import Any, Self, SupportsIndex
from weakref import WeakSet

import numpy as np
from numpy.typing import DTypeLike

from . import _backend
from ._core.named.element import Element
from ._core.named.layout import POOL, POOL_END
from ._core.named.pool_repair import pool_links, pool_node_nbytes, pool_recount, pool_repair
from ._core.status import OK, Status
from ._elements import Elements
from ._form import load, store
from ._rlock import RLock
from ._structure import checked_capacity
from .errors import DTypeError, FreedError, SegmentFormatError, WaitTimeoutError
from .table import Entry, Part

LOOK = 16
"""Free nodes that the free of a handle looks at, the last freed first."""

_pools: WeakSet[Pool] = WeakSet()
"""All pools of this process: what they have is not a forked child's."""


class Node:
    """A node of a pool that this process has; `with` frees it at the end of the block.

    `value` is the element as a Python number, bytes or str, or as NumPy gives it; `array` is the
    element itself, a NumPy array without dimensions, and ``node[...]`` and ``node["field"]``
    are its items. Once the node was freed or given away every use raises FreedError.
    """

    __slots__ = ("_index", "_pool")

    def __init__(self, pool: Pool, index: int) -> None:
        self._pool = pool
        self._index = index

    @property
    def index(self) -> int:
        """The node's number in the pool, by which other processes find it."""
        return self._pool._held(self)

    def __index__(self) -> int:
        return self.index

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The element, writable; it is nobody's after `free`."""
        return self._pool[self.index]

    @property
    def value(self) -> Any:
        """The element, to get and to set.

        Raises:
            DTypeError, OutOfRangeError: the dtype cannot hold what is set.
        """
        return self._pool._load(self.index)

    @value.setter
    def value(self, value: Any) -> None:
        self._pool._store(self.index, value)

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[key] = value

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Any:
        return np.array(self.array, dtype, copy=copy)

    def free(self) -> None:
        """Give the node back to the pool.

        Raises:
            FreedError: it was freed or given away before.
        """
        with self._pool._lock:
            self._pool._free(self.index, LOOK)

    def detach(self) -> int:
        """Give the node away: return its index, for another process to adopt or free.

        Raises:
            FreedError: it was freed or given away before.
        """
        with self._pool._lock:
            del self._pool._nodes[self.index]
        return self._index

    def __enter__(self) -> Self:
        self._pool._held(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool._has(self):
            self.free()

    def __repr__(self) -> str:
        state = "" if self._pool._has(self) else ", freed or given away"
        return f"<Node {self._index} of {self._pool.name!r}{state}>"


def pool_part(name: str, capacity: int, element: Element) -> Part:
    """Return what is to be added to a segment for a new pool."""

    def prepare(view: memoryview) -> None:
        store(view, POOL.free_head, 0)
        store(view, POOL.allocated, 0)
        store(view, POOL.padding, 0)
        store(view, POOL.capacity, capacity)
        store(view, POOL.elem_size, element.nbytes)
        links = pool_links(view, capacity, element.nbytes, element.align)
        links[:] = np.arange(1, capacity + 1, dtype=np.uint32)
        links[-1] = POOL_END

    nbytes = POOL.nbytes + capacity * pool_node_nbytes(element.nbytes, element.align)
    return Part(name, nbytes, prepare)


def pool_capacity(view: memoryview, entry: Entry, element: Element) -> int:
    """Return the capacity of a pool, checked against its dtype and size."""
    if entry.size < POOL.nbytes:
        raise SegmentFormatError(f"not a pool: its size must be at least {POOL.nbytes}: {entry}")
    capacity, elem_size = load(view, POOL.capacity), load(view, POOL.elem_size)
    node_nbytes, rest = divmod(entry.size - POOL.nbytes, capacity or 1)
    if capacity == 0 or rest or not 0 < elem_size < node_nbytes:
        raise SegmentFormatError(
            f"not a pool: its size must be {POOL.nbytes} bytes and its nodes, larger than an "
            f"element: capacity={capacity}, element={elem_size} bytes, {entry}"
        )
    if elem_size != element.nbytes:
        raise DTypeError(
            f"pool {entry.name!r} has elements of {elem_size} bytes: "
            f"dtype={element.dtype} has {element.nbytes}"
        )
    if node_nbytes != pool_node_nbytes(element.nbytes, element.align):
        raise DTypeError(
            f"pool {entry.name!r} has nodes of {node_nbytes} bytes, which {element.dtype} with "
            f"its alignment of {element.align} does not give"
        )
    return capacity


class Pool(Elements):
    """Elements of one dtype that processes allocate, use and free.

    `allocate` waits for ever by default, and raises TimeoutError when a *timeout* in seconds
    is over; `try_allocate` never waits. Both give a `Node`, whose `index` is what to send to
    other processes. What is in a node is what its last user left there.

    Args:
        mem: the segment.
        name: of the pool in the segment, 1 to 31 bytes.
        capacity: nodes, from 1. When given and the pool is missing, it is created; when it
            exists, it must have that capacity.
        dtype: of an element. The segment does not record it, so it must always be given.

    Raises:
        StructureNotFoundError: there is no such pool, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or has not the size and alignment of the existing
            elements.
        CapacityError: *capacity* is out of range, or not that of the existing pool.
        SegmentFormatError: what is stored is not a pool.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     points = Pool(mem, "points", 10, np.dtype([("x", "f8"), ("y", "f8")]))
    ...     with points.allocate() as point:
    ...         point["x"] = 0.5
    ...         points[point.index]["x"], len(points)
    ...     len(points)
    ...     mem.unlink()
    (array(0.5), 1)
    0
    """

    _part = staticmethod(pool_part)
    _stored_capacity = staticmethod(pool_capacity)

    @staticmethod
    def _size(capacity: int, element: Element) -> int:
        return checked_capacity(capacity)

    def _begin(self, offset: int, element: Element) -> None:
        self._element = element
        self._node_nbytes = pool_node_nbytes(element.nbytes, element.align)
        self._freed = self._bell(offset + POOL.free_head.offset)
        self._core = _backend.named.Pool(self._buf, offset, self.capacity, element, self._freed)
        self._disown()
        _pools.add(self)

    # --- allocation ---

    def try_allocate(self) -> Node | None:
        """Return a node that was free, or None if there is none now.

        Raises:
            SegmentFormatError: the list of free nodes is damaged; see `repair`.
        """
        found = self._core.allocate()
        return None if self._is_not_now(found) else self.adopt(found)

    def allocate(self, timeout: float | None = None) -> Node:
        """Return a node that was free, waiting for one.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            SegmentFormatError: the list of free nodes is damaged; see `repair`.
        """
        found = self._core.allocate()
        if type(found) is Status:
            found = self._wait(self._core.allocate, self._freed, timeout)
            if type(found) is Status:
                raise WaitTimeoutError(f"{self._title} had no free node for {timeout} seconds")
        return self.adopt(found)

    def adopt(self, index: SupportsIndex) -> Node:
        """Return the node of an *index* that was given away, by whatever process, to use and free.

        Raises:
            IndexError: there is no such node.
        """
        node = Node(self, self._checked(index))
        with self._lock:
            self._nodes[node._index] = node
        return node

    def free(self, index: SupportsIndex) -> None:
        """Give the node of an *index* back; whoever had it has it no more.

        Takes longer the more nodes are free, since it looks at all of them.

        Raises:
            FreedError: it is free already.
            IndexError: there is no such node.
            SegmentFormatError: the list of free nodes is damaged; see `repair`.
        """
        with self._lock:
            self._free(self._checked(index), self.capacity)

    def _free(self, index: int, look: int) -> None:
        """Under the lock, so that no other thread has the node again before it is dropped here."""
        node = self._nodes.get(index)
        status = self._core.free(index, look)
        self._is_not_now(status)  # raises if the list is damaged
        if node is not None and self._has(node):
            del self._nodes[index]
        if status is not OK:
            raise FreedError(f"{self._title}: node {index} is free already")

    # --- who has what, in this process ---

    def _has(self, node: Node) -> bool:
        return self._nodes.get(node._index) is node

    def _held(self, node: Node) -> int:
        if not self._has(node):
            raise FreedError(f"{self._title}: node {node._index} was freed or given away")
        return node._index

    def _disown(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._lock = RLock()

    # --- elements ---

    def __getitem__(self, index: SupportsIndex) -> np.ndarray[Any, Any]:
        """Return the element of a node, an array without dimensions, whoever has it.

        Raises:
            IndexError: there is no such node.
        """
        return np.ndarray((), self.dtype, self._buf, self._at(index))

    def _at(self, index: SupportsIndex) -> int:
        return self._entry.offset + POOL.nbytes + self._checked(index) * self._node_nbytes

    def _load(self, index: int) -> Any:
        at = self._at(index)
        return self._element.unpack(bytes(self._buf[at : at + self._element.nbytes]))

    def _store(self, index: int, value: Any) -> None:
        at = self._at(index)
        self._buf[at : at + self._element.nbytes] = self._element.pack(value)

    def _checked(self, number: SupportsIndex) -> int:
        if not 0 <= index(number) < self.capacity:
            raise IndexError(f"index must be from 0 to {self.capacity - 1}: index={number}")
        return index(number)

    # --- queries ---

    __iter__ = None
    """Which nodes are allocated is not recorded, so there is nothing to iterate over."""

    @property
    def allocated(self) -> int:
        """How many nodes are allocated, at some moment."""
        return int(self._core.size())

    @property
    def available(self) -> int:
        """How many nodes are free, at some moment."""
        return self.capacity - self.allocated

    def __len__(self) -> int:
        """Return how many nodes are allocated, at some moment."""
        return self.allocated

    def __bool__(self) -> bool:
        return True  # `if pool:` asks whether there is one

    def repair(self, live: Iterable[SupportsIndex] | None = None) -> int:
        """Mend the pool after deaths, when nobody else is using it.

        Args:
            live: the nodes, or their indices, that somebody still has; all others become free.
                None: only the number of allocated ones is counted anew.

        Returns:
            How many nodes became free.

        Raises:
            SegmentFormatError: the list of free nodes is damaged, and *live* is not known.
            IndexError: there is no such node.
        """
        view, element = self._mem.view(self._entry), self._element
        links = pool_links(view, self.capacity, element.nbytes, element.align)
        if live is None:
            if not pool_recount(view, links):
                raise SegmentFormatError(f"damaged: {self._title} has a list that leads astray")
            return 0
        kept = {self._checked(number) for number in live}
        self._nodes = {number: node for number, node in self._nodes.items() if number in kept}
        return pool_repair(view, links, kept)

    # --- lifetime ---

    def _facts(self) -> str:
        return f"allocated={self.allocated}/{self.capacity}, dtype={self.dtype}"


def _disown_all() -> None:
    for pool in list(_pools):
        pool._disown()


os.register_at_fork(after_in_child=_disown_all)
