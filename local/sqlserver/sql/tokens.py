"""T-SQL text to tokens.

https://learn.microsoft.com/sql/t-sql/language-elements/transact-sql-syntax-conventions-transact-sql
"""

import re
from dataclasses import dataclass

from local.sqlserver.errors import SqlError, syntax

NAME, QUOTED, VARIABLE, STRING = "name", "quoted", "variable", "string"
NUMBER, BINARY, SYMBOL, END = "number", "binary", "symbol", "end"
_PATTERN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
      |(?P<comment>/\*)
      |(?P<string>N?'(?:[^']|'')*')
      |(?P<bracket>\[(?:[^\]]|\]\])*\])
      |(?P<quote>"(?:[^"]|"")*")
      |(?P<binary>0x[0-9a-f]*)
      |(?P<number>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)
      |(?P<variable>@@?[\w@\#$]+)
      |(?P<name>[^\W\d][\w@\#$]*|\#\#?[\w@\#$]+)
      |(?P<symbol><>|!=|<=|>=|!<|!>|\+=|-=|\*=|/=|::|[-+*/%&|^~=<>(),.;?:$])""",
    re.VERBOSE | re.IGNORECASE,
)
RESERVED = frozenset(
    """
    ADD ALL ALTER AND ANY AS ASC AUTHORIZATION BACKUP BEGIN BETWEEN BREAK BROWSE BULK BY CASCADE CASE CHECK
    CHECKPOINT CLOSE CLUSTERED COALESCE COLLATE COLUMN COMMIT COMPUTE CONSTRAINT CONTAINS CONTAINSTABLE CONTINUE
    CONVERT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURSOR DATABASE DBCC
    DEALLOCATE DECLARE DEFAULT DELETE DENY DESC DISK DISTINCT DISTRIBUTED DOUBLE DROP DUMP ELSE END ERRLVL
    ESCAPE EXCEPT EXEC EXECUTE EXISTS EXIT EXTERNAL FETCH FILE FILLFACTOR FOR FOREIGN FREETEXT FREETEXTTABLE
    FROM FULL FUNCTION GOTO GRANT GROUP HAVING HOLDLOCK IDENTITY IDENTITY_INSERT IDENTITYCOL IF IN INDEX INNER
    INSERT INTERSECT INTO IS JOIN KEY KILL LEFT LIKE LINENO LOAD MERGE NATIONAL NOCHECK NONCLUSTERED NOT NULL
    NULLIF OF OFF OFFSETS ON OPEN OPENDATASOURCE OPENQUERY OPENROWSET OPENXML OPTION OR ORDER OUTER OVER PERCENT
    PIVOT PLAN PRIMARY PRINT PROC PROCEDURE PUBLIC RAISERROR READ READTEXT RECONFIGURE REFERENCES
    REPLICATION RESTORE RESTRICT RETURN REVERT REVOKE RIGHT ROLLBACK ROWCOUNT ROWGUIDCOL RULE SAVE SCHEMA
    SECURITYAUDIT SELECT SEMANTICKEYPHRASETABLE SEMANTICSIMILARITYDETAILSTABLE SEMANTICSIMILARITYTABLE
    SESSION_USER SET SETUSER SHUTDOWN SOME STATISTICS SYSTEM_USER TABLE TABLESAMPLE TEXTSIZE THEN TO TOP TRAN
    TRANSACTION TRIGGER TRUNCATE TRY_CONVERT TSEQUAL UNION UNIQUE UNPIVOT UPDATE UPDATETEXT USE USER VALUES
    VARYING VIEW WAITFOR WHEN WHERE WHILE WITH WITHIN WRITETEXT
    """.split()  # noqa: SIM905 - a list of words reads as one
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word: `text` as written, `word` its upper case for a bare name or symbol, `value` what it stands for."""

    kind: str
    text: str
    word: str
    value: str
    at: int


def tokenize(sql: str) -> list[Token]:
    """Split a batch into tokens, with one END after the last.

    Raises:
        SqlError: 102 for a character that starts nothing, 105 or 113 for a quotation or comment left open.
    """
    tokens = []
    at = 0
    while at < len(sql):
        found = _PATTERN.match(sql, at)
        if found is None:
            raise _unclosed(sql, at)
        kind, text = str(found.lastgroup), found.group()
        if kind == "comment":
            at = _after_comment(sql, at)
            continue
        if kind != "space":
            tokens.append(_token(kind, text, at))
        at = found.end()
    tokens.append(Token(END, "", "", "", at))
    return tokens


def _token(kind: str, text: str, at: int) -> Token:
    if kind == "string":
        return Token(STRING, text, "", text[text.index("'") + 1 : -1].replace("''", "'"), at)
    if kind == "bracket":
        return Token(QUOTED, text, "", text[1:-1].replace("]]", "]"), at)
    if kind == "quote":
        return Token(QUOTED, text, "", text[1:-1].replace('""', '"'), at)
    if kind == "name":
        return Token(NAME, text, text.upper(), text, at)
    if kind == "symbol":
        return Token(SYMBOL, text, text, text, at)
    return Token(kind, text, "", text, at)


def _after_comment(sql: str, at: int) -> int:
    depth = 0
    for found in re.finditer(r"/\*|\*/", sql[at:]):
        depth += 1 if found.group() == "/*" else -1
        if not depth:
            return at + found.end()
    raise SqlError(113, "Missing end comment mark '*/'.", 15)


def _unclosed(sql: str, at: int) -> SqlError:
    if sql[at] in "'\"[" or sql[at : at + 2] == "N'":
        return SqlError(105, f"Unclosed quotation mark after the character string '{sql[at + 1 : at + 40]}'.", 15)
    return syntax(sql[at])
