"""The command line behind the Makefile: `python -m demo --help`."""

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from demo.choice import (
    PORT_VARIABLES,
    Stack,
    containers_of,
    every_stack,
    stack_started_last,
    stack_to_start,
)
from demo.compose import added_bytes
from demo.event_log import log_lines
from demo.narration import missing, narrate
from demo.processes import ROOT, DemoError, one_start_at_a_time
from shared.settings import STATE_DIR_VARIABLE


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.do(_state(), options))
    except DemoError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def up(state: Path, _options: argparse.Namespace) -> int:
    """Start the system, run the flow once and tell what happened."""
    with one_start_at_a_time(state):
        stack, which_and_why = stack_to_start(state, os.environ)
        print(f"Stack: {which_and_why}", flush=True)
        stack.up()
    succeeded = _tell_a_run(stack)
    print(_what_next(stack))
    return 0 if succeeded else 1


def run(state: Path, _options: argparse.Namespace) -> int:
    """Run the flow once more, on what runs now, and tell what happened."""
    return 0 if _tell_a_run(stack_started_last(state, os.environ)) else 1


def stop(state: Path, options: argparse.Namespace) -> int:
    """Stop one service, to see what the others do without it."""
    stack = stack_started_last(state, os.environ)
    service = next(one for one in stack.services if one.name == options.service)
    print(f"stopped {service.name}" if service.stop() else f"{service.name} was not running")
    return 0


def down(state: Path, _options: argparse.Namespace) -> int:
    """Stop the services; their data stays."""
    stack = stack_started_last(state, os.environ)
    stopped = stack.down()
    print("\n".join(f"stopped {service.name}" for service in stopped) or "nothing was running")
    return 0


def status(state: Path, _options: argparse.Namespace) -> int:
    """Say of each service whether it works; status 1 where one does not."""
    stack = stack_started_last(state, os.environ)
    states = [(service, service.is_well()) for service in stack.services]
    for service, well in states:
        word = "ready" if well else "not ready" if service.is_running() else "stopped"
        print(f"{service.name:<16} {word:<10} {service.url}")
    return 0 if all(well for _, well in states) else 1


def logs(state: Path, options: argparse.Namespace) -> int:
    """Print every log line, oldest first, short or whole; with --follow until interrupted."""
    stack = stack_started_last(state, os.environ)
    shown = 0
    while True:
        lines = log_lines(stack.logs())
        for line in lines[shown:]:
            print(json.dumps(line) if options.json else _short(line))
        shown = len(lines)
        if not options.follow:
            return 0
        time.sleep(1)


def _short(line: Mapping[str, Any]) -> str:
    time_of_day, number = str(line.get("time", ""))[11:23], line.get("arrow", " ")
    return f"{time_of_day} {line.get('service', ''):<16} {number} {line.get('message', '')}"


def token(state: Path, _options: argparse.Namespace) -> int:
    """Print a fresh access token of the demo's client and nothing else."""
    result = stack_started_last(state, os.environ).flask("client_service", "token")
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    return result.returncode


def cli(state: Path, options: argparse.Namespace) -> NoReturn:
    """Run a command of a service."""
    arguments = shlex.split(options.arguments)
    stack_started_last(state, os.environ).become_flask(options.service, *arguments)


def images(state: Path, _options: argparse.Namespace) -> int:
    """Build the images of the containers and say how much each adds to its base."""
    stack = containers_of(state, os.environ)
    stack.build()
    for service in stack.services:
        print(f"{service.container:<16} {added_bytes(service.image) / 1e6:5.1f} MB")
    return 0


def clean(state: Path, _options: argparse.Namespace) -> int:
    """Stop the services and delete everything that they kept."""
    for stack in every_stack(state, os.environ):
        stack.delete()
    print(f"deleted {state}")
    return 0


def _tell_a_run(stack: Stack) -> bool:
    """Let the client do its job once, tell the arrows that passed, and whether it succeeded."""
    run = stack.run_once()
    print(f"\nThe client credentials flow, as it just happened (trace {run.report['trace_id']}):\n")
    print(narrate(run.events) + "\n")
    if run.succeeded:
        print(f"The client's job: {_told(run.report['result'])}\n")
    else:
        not_passed = ", ".join(str(arrow.number) for arrow in missing(run.events))
        print(f"The run failed: {run.report['error']} ({run.report['detail']})")
        print(f"Arrows that did not pass: {not_passed or 'none'}\n")
    return run.succeeded


def _told(result: dict[str, Any]) -> str:
    """Return one line about a reconciliation that went through."""
    verdict = "balanced" if result["balanced"] else f"off by {result['difference']}"
    return (
        f"account {result['account_id']} is {verdict} at {result['balance']} {result['currency']} "
        f"(minor units); {result['transactions_read']} transactions since the run before"
    )


def _what_next(stack: Stack) -> str:
    auth, bank, client = (service.url for service in stack.services)
    return f"""\
Running:
  authorization server  {auth}/.well-known/openid-configuration
  bank                  {bank}/account
  client                {client}/

Try next, from this folder:
  curl -s {auth}/.well-known/openid-configuration
  curl -s -H "Authorization: Bearer $(make -s token)" {bank}/account
  make run

  make logs · make status · make down · make help"""


def _state() -> Path:
    return Path(os.environ.get(STATE_DIR_VARIABLE) or ROOT / ".local").absolute()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function in (up, run, stop, down, status, logs, token, cli, images, clean):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(do=function)
        if function is logs:
            command.add_argument("--follow", action="store_true")
            command.add_argument("--json", action="store_true", help="each line as it was logged")
        if function in (cli, stop):
            command.add_argument("service", choices=sorted(PORT_VARIABLES))
        if function is cli:
            command.add_argument("arguments", help="the command line, as one argument")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `make logs | head` is no error
    sys.exit(main())
