"""The instructions of one token and of one token check, by stage: `python -m bench.instructions`.

Unlike time, their number does not depend on what else the machine does. valgrind counts them (as
Debian packages it; a minute or two). With `--check` this fails where a stage takes over 5 % more,
a rest 10, than `bench/instructions.json` says for this build of Python; with `--write` it writes
them there.

What each stage is: bench/README.md.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.counted_stages import TIMES
from bench.programs import ROOT
from bench.token_stages import RESPOND, STAGES

KNOWN = Path(__file__).with_suffix(".json")
MORE_THAN_BEFORE = 1.05
MORE_THAN_BEFORE_OF_A_REST = 1.1
"""A rest is a difference of what was counted apart: of the same code it varied by 5 %."""
MARK = "lcong48*"
MATTER_TO_OPENSSL = ("adx", "avx", "avx2", "bmi2", "sha_ni")

Counts = dict[str, int]
"""Instructions of one doing of each stage, by its name."""
PARTS = {
    "token": (tuple(STAGES), RESPOND),
    "check": (("signature",), "judge"),
}
"""The stages that are counted one by one, and how the rest of the whole is called."""


def main() -> None:
    """Count, print, and compare with what is known or write it down."""
    arguments = _arguments()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed (on Debian and Ubuntu: apt install valgrind)")
    known: dict[str, Counts] = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    before = known.get(build(), {})
    print(heading(bool(before), arguments.write), flush=True)
    counts = counted()
    for stage, count in counts.items():
        print(f"{stage:32}{count:12,}{change(count, before.get(stage)):>10}")
    if arguments.write:
        KNOWN.write_text(json.dumps(known | {build(): counts}, indent=2, sort_keys=True) + "\n")
    elif arguments.check:
        _judge(counts, before)


def heading(is_known: bool, is_written: bool) -> str:
    """Return what the numbers are, and what becomes of them: it takes a while until they come."""
    file = KNOWN.relative_to(ROOT)
    return (
        f"Instructions per call, Python {platform.python_version()} ({sys.prefix}), "
        + (f"and by how much they differ from {file}" if is_known else f"unknown to {file}")
        + (", where they will be written" if is_written else "; nothing is written")
        + ". valgrind counts for some two minutes."
    )


def counted() -> Counts:
    """Return what each stage takes, counted in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--dump-before={MARK}",
            f"--callgrind-out-file={folder}/counted",
            sys.executable,
            "-m",
            "bench.counted_stages",
        ]
        # The order of sets and dicts of strings, and so the work, would differ by the seed.
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        result = subprocess.run(  # noqa: S603 - this very project, under valgrind
            command, env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            sys.exit(result.stderr)
        stages = result.stdout.split("\n")[:-1]
        # The first dump holds what came before the first mark, and each second one a stage.
        totals = [
            _total(Path(folder, f"counted.{number + 1}")) for number in range(2 * len(stages))
        ]
    once = (total // TIMES for total in totals[1::2])
    return with_the_rest(dict(zip(stages, once, strict=True)))


def with_the_rest(counts: Counts) -> Counts:
    """Return ``counts`` with what of each whole none of its stages has.

    So it is seen too where that part grows beside a signature that takes ten times as much.
    """
    rests = {}
    for stage, whole in counts.items():
        what, algorithm, name = stage.split(maxsplit=2)
        if name == "whole":
            parts, rest = PARTS[what]
            counted_alone = sum(counts[f"{what} {algorithm} {part}"] for part in parts)
            rests[f"{what} {algorithm} {rest}"] = whole - counted_alone
    return dict(sorted((counts | rests).items()))


def change(count: int, before: int | None) -> str:
    """Return by how much ``count`` differs from ``before``, in percent; empty: nothing is known."""
    return "" if before is None else f"{count / before - 1:+.1%}"


def grown(counts: Counts, before: Counts) -> list[str]:
    """Return the stages that take too much more than ``before``, or are not known there."""
    return [
        stage
        for stage, count in counts.items()
        if stage not in before or count > _most(stage) * before[stage]
    ]


def _most(stage: str) -> float:
    is_a_rest = stage.rpartition(" ")[2] in {rest for _, rest in PARTS.values()}
    return MORE_THAN_BEFORE_OF_A_REST if is_a_rest else MORE_THAN_BEFORE


def build() -> str:
    """Return what tells this build of Python, on such a processor, from others.

    Each has numbers of its own: OpenSSL multiplies by other instructions where there are better.
    """
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    has = [flag for flag in MATTER_TO_OPENSSL if flag in flags]
    python = f"{platform.python_version()} {platform.python_compiler()}"
    return " ".join([python, platform.machine(), *has])


def _judge(counts: Counts, before: Counts) -> None:
    if not before:
        print(f"nothing to compare with: {KNOWN.name} knows no {build()}")
    elif found := grown(counts, before):
        sys.exit(f"takes more instructions than before: {', '.join(found)}")


def _total(dump: Path) -> int:
    found = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    assert found, f"{dump.name} has no total"
    return int(found[1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check", action="store_true", help="fail where a stage takes 5 %% more, a rest 10"
    )
    what.add_argument("--write", action="store_true", help=f"write the numbers to {KNOWN.name}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
