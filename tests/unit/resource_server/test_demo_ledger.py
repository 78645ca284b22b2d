from sqlalchemy import select

from resource_server.demo_ledger import DEMO_ACCOUNT, DEMO_COUNTER_ACCOUNT, seed_demo
from resource_server.ledger import entries
from resource_server.models import Account, AccountAccess
from shared.database import Database


def test_the_demo_account_has_a_year_of_transactions(database: Database) -> None:
    with database.reading() as session:
        account = session.get_one(Account, DEMO_ACCOUNT)
        amounts = [entry.amount for entry in entries(session, DEMO_ACCOUNT, 0, 1000)]

    assert (account.balance, account.last_sequence) == (2_002_197, 365)
    assert (sum(amounts), len(amounts)) == (2_002_197, 365)


def test_the_demo_account_is_open_to_every_client_and_the_other_to_none(
    database: Database,
) -> None:
    with database.reading() as session:
        rows = session.scalars(select(AccountAccess)).all()

    assert [(row.client_id, row.account_id, row.is_default) for row in rows] == [
        ("*", DEMO_ACCOUNT, True)
    ]
    assert DEMO_COUNTER_ACCOUNT not in {row.account_id for row in rows}


def test_a_second_seed_changes_nothing(database: Database) -> None:
    with database.writing() as session:
        is_new = seed_demo(session)
        last = session.get_one(Account, DEMO_ACCOUNT).last_sequence

    assert (is_new, last) == (False, 365)
