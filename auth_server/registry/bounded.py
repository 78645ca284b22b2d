"""A mapping that never grows beyond its size: the memory of a process stays bounded."""

from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

SIZE = 10_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class Bounded(Generic[Key, Value]):
    """Holds the ``size`` values that were put in last. Safe to share between threads."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """Return the value of ``key``; None where there is none, or no more."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Hold ``value``; where there is no room, what was put in first goes."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    def discard(self, key: Key) -> None:
        """Forget ``key``."""
        with self._lock:
            self._values.pop(key, None)
