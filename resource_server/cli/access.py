"""The commands `access …`: which client sees which account, and pays from it."""

import click
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from resource_server.cli.output import as_json, print_result
from resource_server.models import EVERY_CLIENT, Account, AccountAccess
from shared.database import Database
from shared.identifiers import is_identifier
from shared.service_logging import configure_logging


def access_commands(database: Database) -> click.Group:
    """Return the group `access`."""

    @click.group("access", help="Which client has which account; `*` is every client.")
    def access() -> None:
        configure_logging("resource_server", "WARNING")

    @access.command(
        "grant", help="Let CLIENT read ACCOUNT and pay from it; its first one becomes its default."
    )
    @click.argument("client")
    @click.argument("account")
    @click.option("--default", "as_default", is_flag=True, help="Make it the client's default.")
    @as_json
    def grant(client: str, account: str, as_default: bool, as_json: bool) -> None:
        with database.writing() as session:
            row = _granted(session, client, account, as_default)
        print_result(_fields(row), f"{client} sees {_described(row)}", as_json)

    @access.command("revoke", help="Take ACCOUNT from CLIENT; fine if it does not have it.")
    @click.argument("client")
    @click.argument("account")
    @as_json
    def revoke(client: str, account: str, as_json: bool) -> None:
        with database.writing() as session:
            row = session.get(AccountAccess, (client, account))
            if row is not None:
                session.delete(row)
                session.flush()
            still_sees = session.get(AccountAccess, (EVERY_CLIENT, account)) is not None
        revoked = row is not None
        result = {"client_id": client, "account_id": account, "revoked": revoked}
        text = f"{client} {'no longer sees' if revoked else 'did not see'} {account}"
        if still_sees:
            text = f"{client} still sees {account}, as every client does: revoke it from *"
        print_result({**result, "still_sees": still_sees}, text, as_json)

    @access.command("list", help="List who sees what.")
    @as_json
    def list_all(as_json: bool) -> None:
        order = (AccountAccess.client_id, AccountAccess.account_id)
        with database.reading() as session:
            rows = session.scalars(select(AccountAccess).order_by(*order)).all()
        lines = [f"{row.client_id} sees {_described(row)}" for row in rows]
        print_result(
            [_fields(row) for row in rows], "\n".join(lines) or "nobody sees anything", as_json
        )

    return access


def _granted(session: Session, client: str, account: str, as_default: bool) -> AccountAccess:
    if client != EVERY_CLIENT and not is_identifier(client):
        raise click.ClickException("a client's id is made of letters, digits, _ and -; or it is *")
    if session.get(Account, account) is None:
        raise click.ClickException("there is no such account")
    of_client = AccountAccess.client_id == client
    has_default = select(AccountAccess).where(of_client, AccountAccess.is_default)
    if as_default:
        session.execute(update(AccountAccess).where(of_client).values(is_default=False))
    becomes_default = as_default or session.scalars(has_default).first() is None
    row = session.get(AccountAccess, (client, account))
    if row is None:
        row = AccountAccess(client_id=client, account_id=account, is_default=False)
        session.add(row)
    row.is_default = row.is_default or becomes_default
    return row


def _fields(row: AccountAccess) -> dict[str, object]:
    return {
        "client_id": row.client_id,
        "account_id": row.account_id,
        "is_default": row.is_default,
    }


def _described(row: AccountAccess) -> str:
    return f"{row.account_id} (default)" if row.is_default else row.account_id
