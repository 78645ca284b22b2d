"""What cannot be done to the register."""


class RegistryError(Exception):
    """What was asked of the register cannot be done; the text says why and what to do."""


class AlreadyRegisteredError(RegistryError):
    """The name is taken."""


class UnknownClientError(RegistryError):
    """No client of that name is registered."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"no client {client_id!r} is registered: see `clients list`")
