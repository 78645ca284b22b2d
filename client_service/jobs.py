"""The jobs of this service: to add one, write its function and give it a line here."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from client_service.bank_client import BankClient
from client_service.full_audit import work_of_full_audit
from client_service.reconciliation import work_of_reconcile
from client_service.settings import ClientServiceSettings
from client_service.task import Work
from client_service.ticks import Ticks, ticks_in
from shared.database import Database

RECONCILE = "reconcile"
FULL_AUDIT = "full-audit"


@dataclass(frozen=True, slots=True)
class RegisteredJob:
    """A job: its name, its schedule in words and in ticks, and what it does."""

    name: str
    schedule: str
    ticks: Ticks | None  # None: it runs on demand alone
    work: Work


def registered_jobs(
    settings: ClientServiceSettings, bank: BankClient, database: Database
) -> dict[str, RegisteredJob]:
    """Return the jobs by their names."""
    zone = ZoneInfo(settings.time_zone)
    audit = work_of_full_audit(bank, database, RECONCILE)
    table = (
        (RECONCILE, settings.reconcile_schedule, work_of_reconcile(bank, RECONCILE)),
        (FULL_AUDIT, settings.full_audit_schedule, audit),
    )
    return {
        name: RegisteredJob(name, schedule, ticks_in(schedule, zone), work)
        for name, schedule, work in table
    }
