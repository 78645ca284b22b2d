"""Keys that are nobody's: an assertion of an unknown client is verified with one of them.

So it costs what one of a known client costs, and the time of an answer does not tell the two
apart. They are numbers that anybody can name, 2**2048 - 1 and the base points of the curves, as
what comes out never counts.
"""

from typing import Final

from auth_server.client_jwks import ClientKey, client_keys

_JWKS: Final = {
    "keys": [
        {"kty": "RSA", "n": "_" * 341 + "w", "e": "AQAB"},
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
            "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
        },
        {"kty": "OKP", "crv": "Ed25519", "x": "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"},
    ]
}
_KEYS: Final = {name: key for key in client_keys(_JWKS) for name in key.algorithms}


def nobodys_key(algorithm: str) -> ClientKey:
    """Return a key to verify with where the client has none; the result is to be thrown away."""
    return _KEYS[algorithm]
