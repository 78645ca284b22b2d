"""What asks two replicas of every service without a pause, while something is rotated."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests
from joserfc.jws import extract_compact

from tests.stack import RegisteredClient

SECONDS = 60


@dataclass
class RotationLoad:
    """Clients that get a token at one server and spend it at one bank: each pair of them in turn.

    Beside them the machine client does its job with what it finds in the vault.
    """

    client: RegisteredClient
    issuers: Sequence[str]
    banks: Sequence[str]
    jobs: Sequence[Callable[[], str | None]]
    """Each does the client's job once, and returns what it failed with."""
    kids: set[str] = field(default_factory=set)
    refused: list[object] = field(default_factory=list)
    jobs_done: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Ask until the end of the block."""
        threads = [threading.Thread(target=self._get_and_spend)]
        threads += [threading.Thread(target=self._do, args=(job,)) for job in self.jobs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(timeout=SECONDS)

    def _get_and_spend(self) -> None:
        for issuer, bank in itertools.cycle(itertools.product(self.issuers, self.banks)):
            if self._stop.is_set():
                return
            self._note(issuer, bank)

    def _note(self, issuer: str, bank: str) -> None:
        form = {"grant_type": "client_credentials"}
        auth = (self.client.client_id, self.client.client_secret)
        answer = requests.post(f"{issuer}/oidc/token", form, auth=auth, timeout=SECONDS)
        if answer.status_code != 200:
            self.refused.append((issuer, answer.status_code, answer.text))
            return
        token = answer.json()["access_token"]
        self.kids.add(str(extract_compact(token.encode()).headers()["kid"]))
        headers = {"Authorization": f"Bearer {token}"}
        account = requests.get(f"{bank}/account", headers=headers, timeout=SECONDS)
        if account.status_code != 200:
            self.refused.append((bank, account.status_code, account.text))

    def _do(self, job: Callable[[], str | None]) -> None:
        while not self._stop.is_set():
            error = job()
            self.jobs_done += 1
            if error is not None:
                self.refused.append(error)


def refusals_in(log: Sequence[str]) -> list[dict[str, object]]:
    """Return the events of the audit trail that refused a token."""
    events = [json.loads(line) for line in log if line.startswith("{")]
    refused = {"logger": "audit", "action": "token", "outcome": "refused"}.items()
    return [event for event in events if event.items() >= refused]
