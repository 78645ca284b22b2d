"""The benchmark beside its peers: `python -m bench`, or `make bench`; bench/README.md explains."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from bench.machine import Cores, TooFewCoresError
from bench.measuring import FULL, OURS, QUICK, compare
from bench.peers import all_peers, quick_peers
from bench.process import ServerError
from bench.programs import CACHE
from bench.report import write_report
from bench.rows.index import ROWS
from bench.verification import BadAnswerError
from bench.wrk import LoadError, require_wrk

WHOLE_REPORT = Path(__file__).parent


def main() -> None:
    """Measure what was asked for, and write the report."""
    chosen = _arguments()
    try:
        require_wrk()
        cores = Cores.of_this_machine()
        _run(chosen, cores)
    except (TooFewCoresError, LoadError, BadAnswerError, ServerError) as error:
        sys.exit(f"nothing was written: {error}")


def _run(chosen: argparse.Namespace, cores: Cores) -> None:
    plan = QUICK if chosen.quick else FULL
    plan = replace(plan, rounds=chosen.rounds or plan.rounds)
    plan = replace(plan, seconds=chosen.seconds or plan.seconds)
    plan = replace(plan, warm_up_seconds=chosen.warm_up or plan.warm_up_seconds)
    plan = replace(plan, soak_seconds=60 * chosen.minutes if chosen.minutes else plan.soak_seconds)
    folder = chosen.out or (CACHE / "quick" if chosen.quick else WHOLE_REPORT)
    if chosen.row:
        print(ROWS[chosen.row](plan, cores, folder))
        return
    peers = [
        peer
        for peer in (quick_peers() if chosen.quick else all_peers())
        if peer.name == OURS or chosen.only in peer.name.lower()
    ]
    print(write_report(compare(peers, plan, cores), plan, cores, folder))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours, hello and bare Authlib alone")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes")
    parser.add_argument("--warm-up", type=float, help="how long before it; six times for Java")
    parser.add_argument("--minutes", type=float, help="how long the soak takes")
    parser.add_argument("--row", choices=sorted(ROWS), help="one further row, and nothing else")
    parser.add_argument("--only", default="", type=str.lower, help="ours, and peers of this name")
    parser.add_argument("--out", type=Path, help="the folder for RESULTS.md and the plots")
    return parser.parse_args()


if __name__ == "__main__":
    main()
