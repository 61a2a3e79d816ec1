"""What Consul's refusals mean for us: wait and ask again, or mend a setting; pure.

Source:
    https://developer.hashicorp.com/consul/api-docs/api-structure
    https://developer.hashicorp.com/consul/docs/security/acl/acl-rules
    https://github.com/hashicorp/consul/blob/main/agent/http.go (`wrap`)
"""

from collections.abc import Mapping
from typing import Final

import requests

from shared.errors import ConfigError, SluiceError, TransientError

POLICY: Final = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
"""What a token has to allow for every service to be seen."""

NOT_ENABLED: Final = "Connect must be enabled"
"""What Consul says of its own identity where the service mesh is off."""

NOT_READY: Final = "CA has not finished initializing"
"""What Consul says of it until its certificate authority is set up, which may take for ever."""

NOT_KNOWN: Final = "ACL not found"
"""What Consul says of a token that it does not know."""

NO_ACLS: Final = "ACL support disabled"
"""What Consul says of tokens where everybody may do everything."""

_WRONG_FILTER: Final = "Failed to create boolean expression"
"""What Consul says of a filter that it cannot read, with the status of an error of its own."""

_LONGEST = 300
_NOT_CONSUL = "is this the address of a Consul agent's HTTP port?"
_POLICY_HINT = f"give the source's token a policy with: {POLICY}"
_BUSY = frozenset({429, 500, 502, 503, 504})
_REMEDIES = {
    400: "correct filter, tags or datacenters of the source",
    401: _POLICY_HINT,
    403: _POLICY_HINT,
    404: _NOT_CONSUL,
    405: _NOT_CONSUL,
}


def refused(status: int, text: str, headers: Mapping[str, str], path: str, datacenter: str) -> SluiceError:
    """Return our error for an answer that is not 200."""
    said = " ".join(text.split())[:_LONGEST] or f"HTTP status {status}"
    message = f"{path} in {datacenter}: {said}" if datacenter else f"{path}: {said}"
    if _WRONG_FILTER in said:
        return ConfigError(message, hint=_REMEDIES[400])
    if status in _BUSY:
        return TransientError(
            message, retry_after=_seconds(headers.get("Retry-After")), hint=_hint(status, said, datacenter)
        )
    if 300 <= status < 400:
        to = headers.get("Location", "")
        return ConfigError(f"{path}: redirected to {to}", hint="name that address: a token is not sent elsewhere")
    if status in _REMEDIES:
        unknown = "Consul does not know the source's token: " if NOT_KNOWN in said else ""
        return ConfigError(message, hint=unknown + _REMEDIES[status])
    return TransientError(f"{message} (HTTP status {status})", lasting=True, hint=_NOT_CONSUL)


def unreachable(why: Exception, address: str) -> SluiceError:
    """Return our error for a request that was not answered."""
    if isinstance(why, requests.exceptions.InvalidHeader | UnicodeError):  # whose text quotes it
        return ConfigError("the token holds characters that a header cannot have", hint="correct token of the source")
    cause = _cause(why)
    if isinstance(why, requests.exceptions.SSLError) and "EOF" not in cause:
        hint = (
            "name the authority in ca_file; client_cert and client_key if Consul verifies its clients; or does the "
            "port speak http:// only?"
        )
        return ConfigError(f"no trusted connection to {address}: {cause}", hint=hint)
    if isinstance(why, requests.exceptions.Timeout):
        return TransientError(f"{address} did not answer in time", hint="is Consul overloaded, or behind a firewall?")
    if isinstance(why, requests.RequestException) and not isinstance(why, ValueError):  # which an address can be
        return TransientError(f"{address}: {cause}", hint=f"is Consul running, and reachable at {address} from here?")
    return ConfigError(f"{address}: {cause}", hint="check address, ca_file, client_cert and client_key of the source")


def _hint(status: int, said: str, datacenter: str) -> str:
    if status == 429 or "rate limit" in said:
        return "lower requests_per_second or connections of the source, or raise Consul's limits"
    if "No path to datacenter" in said:
        return f"is there a datacenter {datacenter}, and is the link to it up?"
    if "leader" in said:
        return "Consul is without a leader: are most of its servers up?"
    return "see the log of Consul, or of the proxy before it; it is asked again"


def _cause(why: BaseException) -> str:
    """Return the innermost reason: the outer ones repeat the address and the query."""
    while True:
        inner = (
            getattr(why, "reason", None)
            or why.__context__
            or next((each for each in why.args if isinstance(each, BaseException)), None)
        )
        if not isinstance(inner, BaseException):
            return str(why) or type(why).__name__
        why = inner


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdecimal() else None  # absent, or a date
