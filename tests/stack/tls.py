"""A certificate that no public CA knows, and names that lead to this machine."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def own_certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """Return two files: the certificate of ``host`` as its own CA, and it with its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca, both = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(ca.read_bytes() + private)
    return ca, both


def lead_to_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Resolve ``host`` to loopback, as not every system does for names below `localhost`."""
    resolve = socket.getaddrinfo

    def resolved(name: Any, *arguments: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if name == host else name, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
