"""A place in a list of tokens, and the small things every rule of the grammar reads: words, names, types."""

from collections.abc import Callable

from local.sqlserver.errors import SqlError, syntax
from local.sqlserver.sql.tokens import END, NAME, NUMBER, QUOTED, RESERVED, STRING, VARIABLE, Token, tokenize
from local.sqlserver.sql.tree import Name, Query
from local.sqlserver.sqltypes import MAX, SqlType, declared


class Cursor:
    """Reads tokens one after another; `subquery` parses the query inside an expression's parentheses."""

    def __init__(self, sql: str, subquery: "Callable[[Cursor], Query]") -> None:
        self.sql = sql
        self.subquery = subquery
        self._tokens = tokenize(sql)
        self._at = 0

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._at]

    def ahead(self, count: int = 1) -> Token:
        """Return a token further on."""
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self.token.kind == END

    def advance(self) -> Token:
        """Take the next token."""
        token = self.token
        if token.kind != END:
            self._at += 1
        return token

    def fail(self) -> SqlError:
        """Return the error for the token that should not be here."""
        token = self.token
        if token.kind == NAME and token.word in RESERVED:
            return SqlError(156, f"Incorrect syntax near the keyword '{token.text}'.", 15)
        return syntax(token.text or self._tokens[max(self._at - 1, 0)].text)

    def at(self, *words: str) -> bool:
        """Whether the next tokens are these words or symbols."""
        if len(words) == 1:  # most calls by far
            return self._tokens[self._at].word == words[0]
        return all(self.ahead(n).word == word for n, word in enumerate(words))

    def accept(self, *words: str) -> bool:
        """Take these words if they come next."""
        if not self.at(*words):
            return False
        self._at += len(words)
        return True

    def accept_any(self, *words: str) -> str | None:
        """Take one of these words if it comes next, and say which."""
        word = self.token.word
        if word not in words or not word:
            return None
        self.advance()
        return word

    def expect(self, *words: str) -> None:
        """Take these words; SqlError 102 or 156 when something else comes."""
        for word in words:
            if not self.accept(word):
                raise self.fail()

    def is_name(self) -> bool:
        """Whether an identifier comes next."""
        token = self.token
        return token.kind == QUOTED or (token.kind == NAME and token.word not in RESERVED)

    def identifier(self) -> str:
        """Take one identifier."""
        if not self.is_name():
            raise self.fail()
        token = self.advance()
        if not token.value or len(token.value) > 128:
            raise SqlError(103, f"The identifier that starts with '{token.value[:128]}' is too long or empty.", 15)
        return token.value

    def name(self) -> Name:
        """Take a name of up to four parts; `master..spt_values` has an empty one."""
        parts = [self.identifier()]
        while self.accept("."):
            parts.append("" if self.at(".") else self.identifier())
        if len(parts) > 4:
            raise SqlError(
                117, "The object name contains more than the maximum number of prefixes. The maximum is 3.", 15
            )
        return Name(tuple(parts))

    def names(self) -> tuple[str, ...]:
        """Take a list of identifiers in parentheses."""
        self.expect("(")
        found = [self.identifier()]
        while self.accept(","):
            found.append(self.identifier())
        self.expect(")")
        return tuple(found)

    def variable(self) -> str:
        """Take a variable's name."""
        if self.token.kind != VARIABLE or self.token.value.startswith("@@"):
            raise self.fail()
        return self.advance().value

    def integer(self) -> int:
        """Take a whole number, with a sign."""
        negative = self.accept("-")
        if self.token.kind != NUMBER or not self.token.value.isdigit():
            raise self.fail()
        value = int(self.advance().value)
        return -value if negative else value

    def string(self) -> str:
        """Take a string constant."""
        if self.token.kind != STRING:
            raise self.fail()
        return self.advance().value

    def type(self, *, cast: bool = False) -> SqlType:
        """Take a data type."""
        if self.accept("DOUBLE", "PRECISION"):
            return declared("float")
        word = self.identifier()
        if self.accept("."):
            if word.lower() not in {"sys", "dbo"}:
                raise SqlError(2715, f"Column, parameter, or variable #1: Cannot find data type {word}.", state=6)
            word = self.identifier()
        if word.lower() in {"char", "character"} and self.accept("VARYING"):
            word = "varchar"
        sizes = []
        if self.accept("("):
            sizes.append(MAX if self.accept("MAX") else self.integer())
            while self.accept(","):
                sizes.append(self.integer())
            self.expect(")")
        return declared(word, tuple(sizes), cast=cast)

    def text_since(self, start: int) -> str:
        """Return the batch's text from an offset up to the next token."""
        return self.sql[start : self.token.at].strip()
