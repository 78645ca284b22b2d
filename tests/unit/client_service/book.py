"""A bank's book that a test can falsify, served on loopback as our bank serves its own."""

from collections.abc import Iterable
from typing import Any

from tests.stack.loopback import Asked, LoopbackServer, Reply

PAGE = 100


class Book:
    """One account; ``page`` is how many transactions are told at a time without `limit`."""

    def __init__(self, server: LoopbackServer, amounts: Iterable[int], page: int = PAGE) -> None:
        self.transactions: dict[int, dict[str, Any]] = {}
        self.balance = self.as_of = 0
        self._server, self._page = server, page
        self.book(*amounts)
        server.reply("/account", lambda _asked: Reply(document=self._account()))
        server.reply("/transactions", self.answer)

    def book(self, *amounts: int) -> None:
        """Add transactions, and what they come to."""
        for amount in amounts:
            self.as_of += 1
            self.balance += amount
            self.transactions[self.as_of] = {
                "sequence": self.as_of,
                "amount": amount,
                "counterparty": "acc-2",
                "reference": f"no. {self.as_of}",
                "booked_at": "2026-01-01T00:00:00+00:00",
            }

    def falsify(self, sequence: int, **changes: object) -> None:
        """Change a transaction, and the balance so that nothing shows."""
        old = self.transactions[sequence]
        self.transactions[sequence] = new = {**old, **changes}
        self.balance += int(new["amount"]) - int(old["amount"])

    def remove(self, *sequences: int) -> None:
        """Take transactions out, and change the balance so that nothing shows."""
        for sequence in sequences:
            self.balance -= self.transactions.pop(sequence)["amount"]

    def end_at(self, sequence: int) -> None:
        """Forget all that came later."""
        self.remove(*[number for number in self.transactions if number > sequence])
        self.as_of = sequence

    def answer(self, asked: Asked) -> Reply:
        """Answer a request for a page."""
        after, until = int(asked.query.get("after", 0)), int(asked.query["until"])
        limit = int(asked.query.get("limit", self._page))
        last = min(after + limit, until)
        numbers = range(after + 1, last + 1)
        listed = [self.transactions[one] for one in numbers if one in self.transactions]
        link = f"/transactions?after={last}&until={until}&limit={limit}" if last < until else None
        return Reply(document={"transactions": listed, "next": link})

    def _account(self) -> dict[str, Any]:
        members = {"account_id": "acc-1", "currency": "EUR", "balance": self.balance}
        link = f"/transactions?until={self.as_of}"
        return {**members, "as_of": self.as_of, "transactions": link}
