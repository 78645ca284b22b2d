"""The bank's commands: `flask --app resource_server.app ledger|access …`.

Results go to standard output, logs (warnings and worse) to standard error.
"""

from flask import Flask

from resource_server.cli.access import access_commands
from resource_server.cli.ledger import ledger_commands
from shared.database import Database


def register_commands(app: Flask, database: Database) -> None:
    """Add the groups `ledger` and `access` to the commands of ``app``."""
    app.cli.add_command(ledger_commands(database))
    app.cli.add_command(access_commands(database))
