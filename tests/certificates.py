"""Certificates for 127.0.0.1, and the authority that signs them."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

type Certified = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]
"""A key and its certificate."""

USAGES = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def certificate(name: str, issuer: Certified | None = None) -> Certified:
    """Return a key with its certificate for 127.0.0.1: an authority, unless there is an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer_key, signed_by = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(signed_by, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    usage = dict.fromkeys(USAGES, False) | {"key_cert_sign": issuer is None, "digital_signature": True}
    for extension, is_critical in (
        (x509.BasicConstraints(ca=issuer is None, path_length=None), True),
        (x509.KeyUsage(**usage), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
        (x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False),
    ):
        builder = builder.add_extension(extension, critical=is_critical)
    return key, builder.sign(issuer_key, hashes.SHA256())


def store(folder: Path, name: str, pair: Certified) -> None:
    """Write `name.pem` and `name.key`."""
    key, certified = pair
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(private)
    (folder / f"{name}.pem").write_bytes(certified.public_bytes(pem))
