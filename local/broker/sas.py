"""Shared access signatures: the key of the broker, and the tokens clients prove to have it with.

Source:
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas
"""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, quote_plus, unquote

from local.broker.conditions import unauthorized

PREFIX = "SharedAccessSignature "


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The one key of the namespace; it may do everything."""

    name: str
    secret: str

    def connection_string(self, port: int) -> str:
        """Return what a client is configured with."""
        endpoint = f"Endpoint=sb://127.0.0.1:{port}"
        key = f"SharedAccessKeyName={self.name};SharedAccessKey={self.secret}"
        return f"{endpoint};{key};UseDevelopmentEmulator=true"

    def sign(self, scope: str, expires: int) -> str:
        """Return a token for what lies below a scope, good until a time in seconds since 1970."""
        scope, name = quote_plus(scope), quote_plus(self.name)
        return f"{PREFIX}sr={scope}&sig={quote_plus(self._signature(scope, str(expires)))}&se={expires}&skn={name}"

    def check(self, token: str, audience: str) -> float:
        """Return until when the token is good, in seconds since 1970.

        Raises:
            AmqpError: it is malformed, expired, for something else, or not signed with the key.
        """
        fields = {name: values[0] for name, values in parse_qs(token.removeprefix(PREFIX)).items()}
        raw = dict(part.partition("=")[::2] for part in token.removeprefix(PREFIX).split("&"))
        is_whole = {"sr", "sig", "se", "skn"} <= fields.keys() and fields["se"].isdecimal()
        if not token.startswith(PREFIX) or not is_whole:
            text = "InvalidSignature: the token is not a shared access signature."
            raise unauthorized(text)
        if fields["skn"] != self.name:
            text = f"InvalidSignature: there is no key '{fields['skn']}'."
            raise unauthorized(text)
        if not hmac.compare_digest(self._signature(raw["sr"], raw["se"]), unquote(raw["sig"])):
            text = "InvalidSignature: The token has an invalid signature."
            raise unauthorized(text)
        if not covers(path_of(fields["sr"]), path_of(audience)):
            text = f"InvalidAudience: the token is for '{fields['sr']}', not for '{audience}'."
            raise unauthorized(text)
        expires = float(fields["se"])
        if expires <= time.time():
            text = "ExpiredToken: The token is expired."
            raise unauthorized(text)
        return expires

    def _signature(self, scope: str, expires: str) -> str:
        """Sign what stands in the token, encoded as it stands there."""
        digest = hmac.new(self.secret.encode(), f"{scope}\n{expires}".encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


def path_of(address: str) -> str:
    """Return the path of an address in whatever form a client gives it; upper and lower case are one."""
    _, scheme, rest = address.partition("://")
    path = rest.partition("/")[2] if scheme else address
    return path.strip("/").lower()


def covers(scope: str, path: str) -> bool:
    """Say whether a right on one path includes another; the empty path is the namespace."""
    return not scope or path == scope or path.startswith(f"{scope}/")
