"""The benchmark beside its peers: `python -m bench`, or `make bench`; bench/README.md explains."""

import argparse
import signal
import sys
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
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its end"))  # servers end too
    try:
        require_wrk()
        cores = Cores.of_this_machine()
        _run(chosen, cores)
    except FAILURES as error:
        sys.exit(f"nothing was written: {error}")


def _run(chosen: argparse.Namespace, cores: Cores) -> None:
    plan = _plan(chosen)
    folder = chosen.out or (CACHE / "quick" if chosen.quick else WHOLE_REPORT)
    section = (
        ROWS[chosen.row](plan, cores, folder)
        if chosen.row
        else write_report(compare(_peers(chosen), plan, cores), plan, cores, folder)
    )
    print(f"{section}\n\nThis section was written to {folder / RESULTS}.")


def _peers(chosen: argparse.Namespace) -> list[Peer]:
    return [
        peer
        for peer in (quick_peers() if chosen.quick else all_peers())
        if peer.name == OURS or chosen.only in peer.name.lower()
    ]


def _plan(chosen: argparse.Namespace) -> Plan:
    plan = QUICK if chosen.quick else FULL
    return Plan(
        chosen.rounds or plan.rounds,
        chosen.seconds or plan.seconds,
        chosen.warm_up or plan.warm_up_seconds,
        60 * chosen.minutes if chosen.minutes else plan.soak_seconds,
        chosen.transactions or plan.transactions,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours, hello and bare Authlib alone")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes")
    parser.add_argument("--warm-up", type=float, help="how long before it; six times for Java")
    parser.add_argument("--minutes", type=float, help="how long the soak takes")
    parser.add_argument("--transactions", type=int, help="how many are reconciled")
    parser.add_argument("--row", choices=sorted(ROWS), help="one further row, and nothing else")
    parser.add_argument("--only", default="", type=str.lower, help="ours, and peers of this name")
    parser.add_argument("--out", type=Path, help="the folder for RESULTS.md and the plots")
    return parser.parse_args()


if __name__ == "__main__":
    main()
