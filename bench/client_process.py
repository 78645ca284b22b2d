"""What the processes share that measure the client's work in themselves: `bench.own_stack`."""

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from client_service.app import SERVICE, ClientService, create_app
from shared.gunicorn_worker import keep_what_is_loaded
from shared.service_logging import RedactingJsonFormatter


def client_service() -> ClientService:
    """Return the parts of a client service, which logs as it does always, but to nowhere."""
    handler = logging.StreamHandler(Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
    handler.setFormatter(RedactingJsonFormatter(SERVICE))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    service: ClientService = create_app().extensions[SERVICE]
    keep_what_is_loaded()  # as a worker does
    return service


def answer(do: Callable[[str], object]) -> None:
    """Do each line of the standard input, and print what came of it as a line of JSON."""
    for line in sys.stdin:
        print(json.dumps(do(line.strip())), flush=True)
