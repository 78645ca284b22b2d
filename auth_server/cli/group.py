"""A group of commands, whose errors are one line and an exit code."""

from typing import Any

import click
from click.core import ParameterSource
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError, ProgrammingError

from auth_server import audit
from auth_server.jwk import UnsuitableKeyError
from auth_server.registry import AlreadyRegisteredError, RegistryError
from auth_server.registry.rotation import AlreadyRotatedError
from auth_server.signing_keys.by_hand import UnknownKeyError
from auth_server.signing_keys.change import KeyExistsError
from auth_server.signing_keys.encryption import KeysUnavailableError
from shared.service_logging import configure_logging
from shared.vault import VaultError

READING_COMMANDS = frozenset({"list", "show", "ending", "check"})
NAMES_OF_CLIENTS = ("name", "client")
HOW_IT_IS_SHOWN = ("as_json", "yes")

# Errors of ours, whose texts hold nothing that is secret; a database's may hold whole rows.
TOLD = (
    RegistryError,
    KeyExistsError,
    UnknownKeyError,
    UnsuitableKeyError,
    KeysUnavailableError,
    VaultError,
)


class ExistsAlreadyError(click.ClickException):
    """It exists already: exit code 3, so that a script can tell."""

    exit_code = 3


class AuditedCommand(click.Command):
    """A command that is an event of the audit trail, unless it only reads.

    One that was not understood, or that nobody confirmed, decides nothing and is none.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and record how it ended."""
        if self.name in READING_COMMANDS:
            return super().invoke(ctx)
        try:
            result = super().invoke(ctx)
        except (click.UsageError, click.Abort):
            raise
        except BaseException as error:
            _record(ctx, "failed", reason=_reason(error))
            raise
        _record(ctx, "done")
        return result


class CommandGroup(AppGroup):
    """Shows what the register, the vault or the database refuse as one line, with no trace."""

    command_class = AuditedCommand

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        configure_logging("auth_server", "WARNING")
        try:
            return super().invoke(ctx)
        except (AlreadyRegisteredError, AlreadyRotatedError, KeyExistsError) as error:
            raise ExistsAlreadyError(str(error)) from error
        except TOLD as error:
            raise click.ClickException(str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            raise click.ClickException(
                "the database cannot be used: is it there, and has "
                "`flask --app auth_server.app migrate` been run?"
            ) from error


def _record(ctx: click.Context, outcome: str, reason: str | None = None) -> None:
    """Write the event: which command, by whom, on which client, with which arguments."""
    parts = ctx.command_path.split()[-2:]
    given = {name: value for name, value in ctx.params.items() if _was_given(ctx, name)}
    client = next((given.pop(name) for name in NAMES_OF_CLIENTS if name in given), None)
    arguments = {
        name: _argument(value) for name, value in given.items() if name not in HOW_IT_IS_SHOWN
    }
    facts = {"client_id": client and audit.said(client), "arguments": arguments or None}
    known = {**facts, **audit.noted(), "reason": reason}
    audit.record(" ".join(parts), outcome, actor=audit.actor(), **known)


def _was_given(ctx: click.Context, name: str) -> bool:
    """Tell whether the operator said it: a flag that says no is an argument as well."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _argument(value: object) -> object:
    """Return an argument fit for a log: of a file its name."""
    if isinstance(value, tuple):
        return audit.said(" ".join(map(str, value)))
    return value if isinstance(value, int) else audit.said(str(getattr(value, "name", value)))


def _reason(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        return audit.said(error.message)
    return audit.said(str(error)) if isinstance(error, TOLD) else type(error).__name__
