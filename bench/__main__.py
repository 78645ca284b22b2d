"""The benchmark beside its peers: `python -m bench`, or `make bench`; bench/README.md explains."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.comparison import OURS, compare
from bench.launch import CannotRunError, Peer
from bench.machine import Cores, TooFewCoresError
from bench.peers import all_peers, quick_peers
from bench.plan import FULL, QUICK, Plan
from bench.process import ServerError
from bench.programs import CACHE
from bench.report import RESULTS, write_report
from bench.rows.index import ROWS
from bench.verification import BadAnswerError
from bench.wrk import LoadError, require_wrk

WHOLE_REPORT = Path(__file__).parent
FAILURES = (TooFewCoresError, CannotRunError, LoadError, BadAnswerError, ServerError)


def main() -> None:
    """Measure what was asked for, and write the report."""
    parser = arguments_parser()
    chosen = parser.parse_args()
    peers = _peers(parser, chosen)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its end"))  # servers end too
    try:
        require_wrk()
        cores = Cores.of_this_machine()
        _run(chosen, peers, cores)
    except FAILURES as error:
        sys.exit(f"nothing was written: {error}")


def _run(chosen: argparse.Namespace, peers: Sequence[Peer], cores: Cores) -> None:
    plan, folder = _plan(chosen), report_folder(chosen)
    section = (
        ROWS[chosen.row](plan, cores, folder)
        if chosen.row
        else write_report(compare(peers, plan, cores), plan, cores, folder)
    )
    print(f"{section}\n\nThis section was written to {folder / RESULTS}.")


def report_folder(chosen: argparse.Namespace) -> Path:
    """Return where the report goes: a part of it never takes the place of the whole."""
    if chosen.out:
        return Path(chosen.out)
    if chosen.only:
        return CACHE / "only"
    return CACHE / "quick" if chosen.quick else WHOLE_REPORT


def _peers(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> list[Peer]:
    """Return ours, and the peers that were asked for; end where there are none of that name."""
    if chosen.only and chosen.row:
        parser.error("--only chooses among the peers of the whole comparison, not of a --row")
    peers = quick_peers() if chosen.quick else all_peers()
    found = [peer for peer in peers if chosen.only in peer.name.lower()]
    if not found:
        names = "; ".join(dict.fromkeys(peer.name for peer in peers))
        parser.error(f"no server has {chosen.only!r} in its name; there are: {names}")
    return [peer for peer in peers if peer.name == OURS or peer in found]


def _plan(chosen: argparse.Namespace) -> Plan:
    plan = QUICK if chosen.quick else FULL
    return Plan(
        chosen.rounds or plan.rounds,
        chosen.seconds or plan.seconds,
        chosen.warm_up or plan.warm_up_seconds,
        60 * chosen.minutes if chosen.minutes else plan.soak_seconds,
        chosen.transactions or plan.transactions,
        command(chosen),
    )


def command(chosen: argparse.Namespace) -> str:
    """Return the command that measures the same: without where it writes, and the environment."""
    names = ("rounds", "seconds", "warm_up", "minutes", "transactions", "only")
    options = [
        f"--{name.replace('_', '-')} {_plain(getattr(chosen, name))}"
        for name in names
        if getattr(chosen, name)
    ]
    words = [
        "make bench",
        "QUICK=1" if chosen.quick else "",
        f"ROW={chosen.row}" if chosen.row else "",
        f'BENCH_ARGS="{" ".join(options)}"' if options else "",
    ]
    return " ".join(filter(None, words))


def _plain(value: str | float) -> str:
    return shlex.quote(value) if isinstance(value, str) else f"{value:.12g}"


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours, hello and bare Authlib alone")
    parser.add_argument("--rounds", type=int, help=f"how many rounds ({FULL.rounds})")
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"how long each measurement takes ({FULL.seconds:g}; {QUICK.seconds:g} with --quick)",
    )
    parser.add_argument(
        "--warm-up",
        type=float,
        help="how long before it, six times for Java "
        f"({FULL.warm_up_seconds:g} s; {QUICK.warm_up_seconds:g} s with --quick)",
    )
    parser.add_argument(
        "--minutes", type=float, help=f"how long the soak takes ({FULL.soak_seconds / 60:g})"
    )
    parser.add_argument(
        "--transactions", type=int, help=f"how many are reconciled ({FULL.transactions:,})"
    )
    parser.add_argument("--row", choices=sorted(ROWS), help="one further row, and nothing else")
    parser.add_argument("--only", default="", type=str.lower, help="ours, and peers of this name")
    parser.add_argument(
        "--out",
        type=Path,
        help="the folder for RESULTS.md and the plots (bench; "
        ".local/bench/only with --only, .local/bench/quick with --quick)",
    )
    return parser


if __name__ == "__main__":
    main()
