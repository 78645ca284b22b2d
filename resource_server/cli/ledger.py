"""The commands `ledger …`: fill the book, and check it."""

import time

import click
from sqlalchemy.orm import Session

from resource_server.cli.output import as_json, print_result
from resource_server.demo_ledger import DEMO_ACCOUNT, seed_demo
from resource_server.large_ledger import MOST_TRANSACTIONS, SEED_ACCOUNT, seed_transactions
from resource_server.ledger import LedgerError
from resource_server.ledger_check import BookCheck
from resource_server.models import Account
from shared.database import Database
from shared.identifiers import is_identifier
from shared.service_logging import configure_logging


def ledger_commands(database: Database) -> click.Group:
    """Return the group `ledger`."""

    @click.group("ledger", help="The book of accounts and transfers.")
    def ledger() -> None:
        configure_logging("resource_server", "WARNING")

    for command in (_seed_demo(database), _seed(database), _verify(database)):
        ledger.add_command(command)
    return ledger


def _seed_demo(database: Database) -> click.Command:
    @click.command("seed-demo", help="Make the demo account, its transactions and its access.")
    @as_json
    def seed_demo_account(as_json: bool) -> None:
        with database.writing() as session:
            is_new = seed_demo(session)
            result = {**_standing(session, DEMO_ACCOUNT), "new": is_new}
        text = f"{DEMO_ACCOUNT} has {result['as_of']} transactions"
        print_result(result, f"made: {text}" if is_new else f"was there: {text}", as_json)

    return seed_demo_account


def _seed(database: Database) -> click.Command:
    @click.command("seed", help="Add many transactions to ACCOUNT, in one transaction of its own.")
    @click.option(
        "--transactions", type=click.IntRange(1, MOST_TRANSACTIONS), required=True, help="How many."
    )
    @click.option("--account", default=SEED_ACCOUNT, show_default=True, help="Made if need be.")
    @as_json
    def seed(transactions: int, account: str, as_json: bool) -> None:
        if not is_identifier(account):
            raise click.ClickException("an account's id is made of letters, digits, _ and -")
        started = time.monotonic()
        try:
            with database.writing() as session:
                seed_transactions(session, account, transactions)
                result = _standing(session, account)
        except LedgerError as error:
            raise click.ClickException(str(error)) from error
        seconds = round(time.monotonic() - started, 1)
        text = f"{account} has {result['as_of']} transactions; {transactions} made in {seconds} s"
        print_result({**result, "made": transactions, "seconds": seconds}, text, as_json)

    return seed


def _verify(database: Database) -> click.Command:
    @click.command("verify", help="Check that the whole book adds up; exit code 1 where not.")
    @as_json
    def verify(as_json: bool) -> None:
        with database.reading() as session:
            check = BookCheck(session)
            findings = []
            for finding in check.findings():
                findings.append(finding.fields())
                if not as_json:
                    click.echo(str(finding))
        checked = {"accounts": check.accounts, "entries": check.entries}
        text = f"{check.accounts} accounts with {check.entries} entries: "
        text += f"{len(findings)} findings" if findings else "the book adds up"
        print_result({"ok": not findings, **checked, "findings": findings}, text, as_json)
        if findings:
            raise click.exceptions.Exit(1)

    return verify


def _standing(session: Session, account_id: str) -> dict[str, object]:
    account = session.get_one(Account, account_id)
    standing: dict[str, object] = {"account_id": account.id, "currency": account.currency}
    return {**standing, "balance": account.balance, "as_of": account.last_sequence}
