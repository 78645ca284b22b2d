"""A group of commands, whose errors are one line and an exit code."""

from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError, ProgrammingError

from auth_server.jwk import UnsuitableKeyError
from auth_server.registry import AlreadyRegisteredError, RegistryError
from auth_server.signing_keys import KeyExistsError, KeysCannotBeOpenedError
from shared.service_logging import configure_logging
from shared.vault import VaultError


class ExistsAlreadyError(click.ClickException):
    """It exists already: exit code 3, so that a script can tell."""

    exit_code = 3


class CommandGroup(AppGroup):
    """Shows what the register, the vault or the database refuse as one line, with no trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        configure_logging("auth_server", "WARNING")
        try:
            return super().invoke(ctx)
        except (AlreadyRegisteredError, KeyExistsError) as error:
            raise ExistsAlreadyError(str(error)) from error
        except (RegistryError, UnsuitableKeyError, KeysCannotBeOpenedError, VaultError) as error:
            raise click.ClickException(str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            raise click.ClickException(
                "the database cannot be used: is it there, and has "
                "`flask --app auth_server.app migrate` been run?"
            ) from error
