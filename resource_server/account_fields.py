"""The members of the bank's answers about accounts and their transactions."""

from urllib.parse import urlencode

from flask import url_for

from resource_server.ledger import Entry
from resource_server.models import Account


def account_fields(account: Account) -> dict[str, object]:
    """Return the account; ``balance``, in minor units, counts what is numbered up to ``as_of``."""
    fields: dict[str, object] = {"account_id": account.id, "owner": account.owner}
    fields |= {"currency": account.currency, "balance": account.balance}
    fields["as_of"] = account.last_sequence
    fields["transactions"] = transactions_path(account, until=account.last_sequence)
    return fields


def entry_fields(entry: Entry) -> dict[str, object]:
    """Return the transaction; ``amount``, in minor units, is negative where the account paid."""
    fields: dict[str, object] = {"sequence": entry.sequence, "amount": entry.amount}
    fields |= {"counterparty": entry.counterparty, "reference": entry.reference}
    return {**fields, "booked_at": entry.booked_at.isoformat()}


def transactions_path(account: Account, **query: int) -> str:
    """Return the reference, without scheme and host: no token follows it to another server."""
    path = url_for("accounts.read_transactions", account_id=account.id)
    return f"{path}?{urlencode(query)}"
