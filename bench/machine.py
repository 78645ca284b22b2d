"""The machine under the measurement: its cores, and what else was going on while we measured.

A figure without its noise is worth little. So beside each figure stands what other programs took
of the server's core, what the hypervisor took of both, and how long a fixed loop needed just
before: where that grew, the machine got slower, not the server.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CALIBRATION_HASHES = 400
_CALIBRATION_BLOCK = bytes(64 * 1024)
_STEAL_COLUMN = 7
_BUSY_COLUMNS = (0, 1, 2, 5, 6)  # user, nice, system, interrupts; neither idle nor stolen


class TooFewCoresError(Exception):
    """Server and load need a core each."""


@dataclass(frozen=True)
class Cores:
    """Which cores the server and the load have."""

    server: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Self:
        """Choose two of the cores that we may use, on different physical ones if there are any.

        Raises TooFewCoresError where there is one alone.
        """
        ours = sorted(os.sched_getaffinity(0))
        server, others = ours[0], ours[1:]
        if not others:
            raise TooFewCoresError("server and load need a core each, and there is one alone")
        apart = [core for core in others if core not in siblings(server)]
        return cls(server, (apart or others)[0])

    def for_servers(self, processes: int) -> list[int]:
        """Return the cores of a server with so many processes: one each, if there are as many."""
        others = physical_cores(os.sched_getaffinity(0), {self.server, self.load})
        return [self.server, *others][:processes]

    def share_one_physical_core(self) -> bool:
        """Tell whether the two are threads of one physical core, and so slow each other down."""
        return self.load in siblings(self.server)


def siblings(core: int) -> set[int]:
    """Return the cores that are threads of the same physical core as ``core``."""
    listed = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return cores_in(listed.read_text()) if listed.exists() else {core}


def physical_cores(
    cores: Iterable[int], taken: Iterable[int], siblings_of: Callable[[int], set[int]] = siblings
) -> list[int]:
    """Return those of ``cores`` that share a physical one neither with ``taken`` nor together."""
    busy = set().union(*map(siblings_of, taken))
    chosen: list[int] = []
    for core in sorted(cores):
        if core not in busy:
            chosen.append(core)
            busy |= siblings_of(core)
    return chosen


def cores_in(text: str) -> set[int]:
    """Return the numbers in a list of the kernel's: `0-2,5`."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@dataclass(frozen=True)
class CoreTimes:
    """Seconds that cores were busy, and that the hypervisor took from them, since the boot."""

    busy: float
    stolen: float

    def __sub__(self, earlier: "CoreTimes") -> "CoreTimes":
        return CoreTimes(self.busy - earlier.busy, self.stolen - earlier.stolen)


def core_times(
    cores: Iterable[int], text: str | None = None, ticks_per_second: int = TICKS_PER_SECOND
) -> CoreTimes:
    """Return what ``cores`` did together, by ``text``: `/proc/stat`, unless it is given."""
    names = {f"cpu{core}" for core in cores}
    lines = map(str.split, (text or Path("/proc/stat").read_text()).splitlines())
    ticks = [[int(column) for column in columns] for name, *columns in lines if name in names]
    return CoreTimes(
        sum(core[column] for core in ticks for column in _BUSY_COLUMNS) / ticks_per_second,
        sum(core[_STEAL_COLUMN] for core in ticks) / ticks_per_second,
    )


def calibration_ms(core: int) -> float:
    """Return how long a fixed piece of work takes on ``core`` now, in milliseconds."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        began = time.perf_counter()
        for _ in range(CALIBRATION_HASHES):
            hashlib.sha256(_CALIBRATION_BLOCK).digest()
        return (time.perf_counter() - began) * 1000
    finally:
        os.sched_setaffinity(0, before)


def load_average() -> float:
    """Return how many programs wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def description(cores: Cores) -> str:
    """Return one line on the machine: what it is, and which cores are used."""
    together = " (threads of one physical core)" if cores.share_one_physical_core() else ""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, "
        f"{platform.system()} {platform.release().partition('-')[0]}; "
        f"server on core {cores.server}, load on core {cores.load}{together}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
