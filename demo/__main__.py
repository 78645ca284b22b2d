"""The command line behind the Makefile: `python -m demo up|down|status|logs|token|cli|clean`."""

import argparse
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from demo.event_log import log_lines
from demo.local_stack import LocalStack, Ports
from demo.narration import missing, narrate
from demo.processes import ROOT, DemoError
from shared.settings import STACK_SETTINGS_FILE, STATE_DIR_VARIABLE

PORT_VARIABLES = {"auth_server": "AUTH_PORT", "resource_server": "BANK_PORT",
                  "client_service": "CLIENT_PORT"}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        stack = LocalStack(_state(), _ports(_state()))
        return int(options.do(stack, options))
    except DemoError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def up(stack: LocalStack, _options: argparse.Namespace) -> int:
    """Start the system, run the flow once and tell what happened."""
    print("Stack: local (three processes, SQLite, a vault directory)", flush=True)
    stack.up()
    run = stack.run_once()
    print(f"\nThe client credentials flow, as it just happened (trace {run.report['trace_id']}):\n")
    print(narrate(run.events))
    if not run.succeeded:
        not_passed = ", ".join(str(arrow.number) for arrow in missing(run.events))
        print(f"\nThe run failed: {run.report['error']}")
        print(f"Arrows that did not pass: {not_passed or 'none'}\n")
    else:
        print(f"\nThe client's job: {_told(run.report['result'])}\n")
    print(_what_next(stack))
    return 0 if run.succeeded else 1


def down(stack: LocalStack, _options: argparse.Namespace) -> int:
    """Stop the services; their data stays."""
    stopped = stack.down()
    print("\n".join(f"stopped {service.name}" for service in stopped) or "nothing was running")
    return 0


def status(stack: LocalStack, _options: argparse.Namespace) -> int:
    """Say of each service whether it works; status 1 where one does not."""
    states = {service: service.is_well() for service in stack.services}
    for service, well in states.items():
        word = "ready" if well else "not ready" if service.is_running() else "stopped"
        print(f"{service.name:<16} {word:<10} {service.url}")
    return 0 if all(states.values()) else 1


def logs(stack: LocalStack, options: argparse.Namespace) -> int:
    """Print every log line, oldest first; with --follow go on until interrupted."""
    shown = 0
    while True:
        lines = log_lines(stack.logs())
        for line in lines[shown:]:
            number = line.get("arrow", " ")
            time_of_day = str(line.get("time", ""))[11:23]
            print(f"{time_of_day} {line.get('service', ''):<16} {number} {line.get('message', '')}")
        shown = len(lines)
        if not options.follow:
            return 0
        time.sleep(1)


def token(stack: LocalStack, _options: argparse.Namespace) -> int:
    """Print a fresh access token of the demo's client and nothing else."""
    return _relay(stack, "client_service", ["token"])


def cli(stack: LocalStack, options: argparse.Namespace) -> int:
    """Run a command of a service."""
    return _relay(stack, options.service, shlex.split(options.arguments))


def clean(stack: LocalStack, options: argparse.Namespace) -> int:
    """Stop the services and delete everything that they kept."""
    down(stack, options)
    shutil.rmtree(stack.state, ignore_errors=True)
    print(f"deleted {stack.state}")
    return 0


def _relay(stack: LocalStack, service: str, arguments: list[str]) -> int:
    result = stack.flask(service, *arguments)
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    return result.returncode


def _told(result: dict[str, Any]) -> str:
    """Return one line about a reconciliation that went through."""
    verdict = "balanced" if result["balanced"] else f"off by {result['difference']}"
    return (
        f"account {result['account_id']} is {verdict} at {result['balance']} {result['currency']} "
        f"(minor units); {result['transactions_read']} new transactions read"
    )


def _what_next(stack: LocalStack) -> str:
    auth, bank, client = (service.url for service in stack.services)
    return f"""\
Running:
  authorization server  {auth}/.well-known/openid-configuration
  bank                  {bank}/account
  client                {client}/

Try next, from this folder:
  curl -s {auth}/.well-known/openid-configuration
  curl -s -H "Authorization: Bearer $(make -s token)" {bank}/account
  curl -s -X POST {client}/runs

  make logs · make status · make down · make help"""


def _state() -> Path:
    return Path(os.environ.get(STATE_DIR_VARIABLE) or ROOT / ".local").absolute()


def _ports(state: Path) -> Ports:
    """Return the ports that were asked for; else those of the stack that was started before."""
    before = dotenv_values(state / STACK_SETTINGS_FILE)
    ports = {}
    for service, variable in PORT_VARIABLES.items():
        bind = before.get(f"{service}_bind".upper()) or ""
        text = os.environ.get(variable) or bind.rpartition(":")[2]
        if text and not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            raise DemoError(f"{variable}: not a port: {text!r}")
        if text:
            ports[service] = int(text)
    return Ports(**ports)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function in (up, down, status, logs, token, cli, clean):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(do=function)
        if function is logs:
            command.add_argument("--follow", action="store_true")
        if function is cli:
            command.add_argument("service", choices=sorted(PORT_VARIABLES))
            command.add_argument("arguments", help="the command line, as one argument")
    return parser


if __name__ == "__main__":
    sys.exit(main())
