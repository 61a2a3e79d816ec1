"""Access control: tokens, the rules they have, and what these allow.

Rules are those of Consul's policies as a JSON object, `{"service_prefix": {"": "read"}, "node": {"n1": "write"}}`, with
`"operator": "read"` without a name. The longest matching rule decides; an exact one beats a prefix.
https://developer.hashicorp.com/consul/docs/security/acl/acl-rules
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.consul.errors import ACL_NOT_FOUND, ConsulError

ANONYMOUS = "anonymous"
_LEVELS = {"deny": 0, "read": 1, "write": 2}
_NAMED = frozenset({"service", "node", "agent"})
_DEFAULTS = {"allow": _LEVELS["write"], "deny": _LEVELS["deny"]}


@dataclass(frozen=True, slots=True)
class Token:
    """What the bearer of a secret may do."""

    accessor: str
    rules: Mapping[str, Mapping[str, int]]
    default: int

    def allows(self, resource: str, name: str, access: str) -> bool:
        """Whether `access` (read or write) to a service, node, agent or operator is allowed."""
        exact = self.rules.get(resource, {})
        if name in exact:
            return exact[name] >= _LEVELS[access]
        prefixes = self.rules.get(f"{resource}_prefix", {})
        matching = [prefix for prefix in prefixes if name.startswith(prefix)]
        granted = prefixes[max(matching, key=len)] if matching else self.default
        return granted >= _LEVELS[access]

    def require(self, resource: str, name: str, access: str) -> None:
        """Refuse what is not allowed.

        Raises:
            ConsulError: permission denied, 403.
        """
        if not self.allows(resource, name, access):
            on = f' on "{name}"' if name else ""
            text = f"token with AccessorID '{self.accessor}' lacks permission '{resource}:{access}'{on}"
            raise ConsulError(403, f"Permission denied: {text}")


@dataclass(slots=True)
class AccessControl:
    """The tokens of a cluster; without any, and with the policy `allow`, everybody may do everything."""

    policy: str = "allow"
    enabled: bool = False
    _tokens: dict[str, Token] = field(default_factory=dict)

    def load(self, document: Mapping[str, Any]) -> None:
        """Take `{"default_policy": "deny", "tokens": [{"secret", "accessor", "rules"}]}`.

        Raises:
            ValueError: a policy, resource or access is unknown.
        """
        _refuse_others(document, {"default_policy", "tokens"})
        policy = document.get("default_policy", "deny")
        if policy not in _DEFAULTS:
            message = f"default_policy: allow or deny, not {policy}"
            raise ValueError(message)
        self.policy, self.enabled = policy, True
        for token in document.get("tokens", []):
            self.put(token)

    def put(self, token: Mapping[str, Any]) -> None:
        """Add a token or change its rules; `"rules": null` takes it away.

        Raises:
            ValueError: a resource or access is unknown.
        """
        _refuse_others(token, {"secret", "accessor", "rules"})
        secret, rules = str(token["secret"]), token["rules"]
        if not self.enabled:
            self.policy, self.enabled = "deny", True
        if rules is None:
            self._tokens.pop(secret, None)
            return
        old = self._tokens.get(secret)
        accessor = token.get("accessor") or (old.accessor if old else str(uuid.uuid4()))
        self._tokens[secret] = Token(accessor, _parsed(rules), _DEFAULTS[self.policy])

    def describe(self, secret: str) -> dict[str, Any]:
        """Return what `GET /v1/acl/token/self` tells of a token.

        Raises:
            ConsulError: there are no tokens, 401, or nobody has that secret, 403.
        """
        if not self.enabled:
            raise ConsulError(401, "ACL support disabled")
        if secret not in self._tokens:
            raise ConsulError(403, ACL_NOT_FOUND)
        return {"AccessorID": self._tokens[secret].accessor, "SecretID": secret, "Policies": [], "Local": False}

    def resolve(self, secret: str) -> Token:
        """Return the token of a secret; the anonymous one for none.

        Raises:
            ConsulError: nobody has that secret, 403.
        """
        if not self.enabled:
            return _EVERYTHING
        token = self._tokens.get(secret or ANONYMOUS)
        if token is not None:
            return token
        if secret:
            raise ConsulError(403, ACL_NOT_FOUND)
        return Token(ANONYMOUS, {}, _DEFAULTS[self.policy])


_EVERYTHING = Token(ANONYMOUS, {}, _LEVELS["write"])


def _parsed(rules: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    parsed: dict[str, dict[str, int]] = {}
    for resource, given in rules.items():
        if resource.removesuffix("_prefix") not in _NAMED and resource != "operator":
            message = f"rules: unknown resource {resource}"
            raise ValueError(message)
        named = {"": given} if resource == "operator" else given
        if wrong := [access for access in named.values() if access not in _LEVELS]:
            message = f"rules: {resource}: {', '.join(_LEVELS)}, not {wrong[0]}"
            raise ValueError(message)
        parsed[resource] = {name: _LEVELS[access] for name, access in named.items()}
    return parsed


def _refuse_others(given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := given.keys() - known:
        message = f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
        raise ValueError(message)
