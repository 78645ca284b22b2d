"""One process that asks the bank by plain `requests` and as the client does: for the row `client`.

It measures for as many seconds as a line of its standard input says, in short blocks that
alternate, and answers with what a call of each kind costs, in microseconds of this process's CPU.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from statistics import median
from threading import Event

import requests
from requests import PreparedRequest, Response, Session

from bench.client_process import answer, client_service
from client_service.app import PROOFS, ClientService, bank_client
from client_service.bank_client import TIMEOUT_SECONDS, BankClient
from client_service.bearer_auth import BearerAuth
from client_service.jobs import RECONCILE
from client_service.metrics import TokenMetrics
from client_service.runs import Trigger
from client_service.vault_credentials import VaultCredentials
from shared.metrics import Metrics
from shared.tracing import current_trace_id, span
from shared.vault import open_vault

CALLS_A_BLOCK = 25
PLAIN = "plain `requests`, the header fixed"

Call = Callable[[], object]
Cost = tuple[float, float]
"""Of a call: its CPU µs, and how much that is above a plain one."""


def main() -> None:
    """Measure a round as often as one is asked for."""
    service = client_service()
    with _a_run_of(service):
        calls = calls_of(service, bank_of(service))
        answer(lambda seconds: one_round(calls, float(seconds)))


def bank_of(service: ClientService) -> BankClient:
    """Return what the jobs of ``service`` ask the bank with, made once more in the same way."""
    settings = service.settings
    vault = VaultCredentials(
        open_vault(settings), settings.vault_entry, PROOFS[settings.auth_method]
    )
    return bank_client(settings, service.provider, vault, TokenMetrics(Metrics()), Event())


def calls_of(service: ClientService, bank: BankClient) -> Mapping[str, Call]:
    """Return the kinds of calls: each a GET of the account, with the token that is held."""
    url = bank.account_url
    require(401, requests.get(url, timeout=TIMEOUT_SECONDS))
    header = {"Authorization": f"Bearer {bank.tokens.token().value}"}
    plain, bare, ours = Session(), Session(), Session()
    plain.headers.update(header)
    bare.headers.update(header)
    bare.auth = _as_it_is  # requests looks for a password in `.netrc` only where there is no auth
    ours.auth = BearerAuth(bank.tokens, origins=[url])

    def whole() -> None:
        with span(service.provider, "read account"):
            bank.account()

    return {
        PLAIN: partial(_get, plain, url),
        "the same, and no look into `.netrc`": partial(_get, bare, url),
        "a session with `BearerAuth`": partial(_get, ours, url),
        "the worker's session: traced, and arrow 4 recorded": partial(_get, bank.session, url),
        "the worker's whole step: its span ended, and the answer checked": whole,
    }


def one_round(calls: Mapping[str, Call], seconds: float) -> dict[str, Cost]:
    """Return what each call costs: the median of its blocks, and of their distance to plain ones.

    Every second time the blocks come in the opposite order, so that none is always the first.
    """
    blocks: dict[str, list[float]] = {name: [] for name in calls}
    names, end = list(calls), time.monotonic() + seconds
    while time.monotonic() < end:
        for name in names:
            blocks[name].append(cost_of_block(calls[name]))
        names.reverse()
    return {name: (median(costs), above(costs, blocks[PLAIN])) for name, costs in blocks.items()}


def cost_of_block(call: Call) -> float:
    """Return what one of some calls costs, in microseconds of this process's CPU."""
    began = time.process_time()
    for _ in range(CALLS_A_BLOCK):
        call()
    return (time.process_time() - began) / CALLS_A_BLOCK * 1e6


def above(costs: list[float], plain: list[float]) -> float:
    """Return the median of how much more a block costs than the plain one of the same turn."""
    return median(one - other for one, other in zip(costs, plain, strict=True))


def require(status: int, response: Response) -> None:
    """End the measurement where the bank answers otherwise than with ``status``."""
    if response.status_code != status:
        sys.exit(f"the bank answered {response.status_code}, not {status}")


def _get(session: Session, url: str) -> None:
    response = session.get(url, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    require(200, response)


def _as_it_is(request: PreparedRequest) -> PreparedRequest:
    return request


@contextmanager
def _a_run_of(service: ClientService) -> Iterator[None]:
    """Enter a run, and open its span: what is asked in it is recorded as the worker's is."""
    schedule = service.schedules[RECONCILE]
    lease = schedule.take_now(Trigger.COMMAND)
    assert lease is not None, "nobody else runs the job"
    with span(service.provider, f"run {RECONCILE}"):
        schedule.begin(lease, current_trace_id())
        yield


if __name__ == "__main__":
    main()
