"""A certificate for this machine, made anew at each start: the management API is spoken over TLS alone."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = timedelta(days=365)


def server_context(ca_file: Path) -> ssl.SSLContext:
    """Return what a server on 127.0.0.1 needs for TLS, and write its certificate, its own authority, into `ca_file`.

    The key exists in memory and, while it is loaded, in a file beside it that only this user can read.
    """
    key_file = ca_file.with_name(f"{ca_file.name}.key")
    try:
        write(ca_file, key_file)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(ca_file, key_file)
    finally:
        key_file.unlink()
    return context


def write(ca_file: Path, key_file: Path) -> None:
    """Make a certificate, its own authority, and write it and its key, which only this user can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_file.write_bytes(_certificate(key).public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    unprotected = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unprotected))


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    serial = x509.random_serial_number()
    # A name of its own, so that a file may hold the authorities of several brokers.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Sluice local broker {serial:x}"[:64])])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
