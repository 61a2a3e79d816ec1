from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings import urls
from shared.settings.names import host_label


def found(text: str) -> urls.SqlServer:
    faults: urls.Faults = []
    server = urls.sql_server(text, faults)
    assert faults == []
    assert server is not None
    return server


@pytest.mark.parametrize(
    ("text", "odbc"),
    [
        (
            "sqlserver://sa:S3cret%21pass@localhost:1433?database=TestDB",
            "Server=localhost,1433;UID=sa;PWD={S3cret!pass};Database=TestDB",
        ),
        ("SqlServer://u:p@sql1?database=D", "Server=sql1;UID=u;PWD=p;Database=D"),
        ("sqlserver://u:p@sql1/SQLEXPRESS?database=D", "Server=sql1\\SQLEXPRESS;UID=u;PWD=p;Database=D"),
        ("sqlserver://u:p@sql1:1500/SQLEXPRESS?database=D", "Server=sql1,1500;UID=u;PWD=p;Database=D"),
        ("sqlserver://u:p@[::1]:1433?database=D", "Server=[::1],1433;UID=u;PWD=p;Database=D"),
        (
            "sqlserver://CORP%5Cu:p%7D%3B@sql1?database=My+Data&encrypt=disable&TrustServerCertificate=true",
            "Server=sql1;UID={CORP\\u};PWD={p}};};Database={My Data};Encrypt=no;TrustServerCertificate=yes",
        ),
        (
            "sqlserver://sql1?database=D&fedauth=ActiveDirectoryManagedIdentity&user+id=1-2&app%20name=Sluice",
            "Server=sql1;Database=D;Authentication=ActiveDirectoryMsi;UID=1-2;APP=Sluice",
        ),
        (
            "sqlserver://u:p@sql1?database=D&encrypt=strict&hostnameincertificate=*.x&ApplicationIntent=ReadOnly&log=63",
            "Server=sql1;UID=u;PWD=p;Database=D;Encrypt=strict;HostNameInCertificate={*.x};ApplicationIntent=ReadOnly",
        ),
        (
            "Driver={Some Driver};SERVER=tcp:sql1.contoso.com,1433;Database={My;DB};UID=u;PWD={a}}b};",
            "Server=tcp:sql1.contoso.com,1433;Database={My;DB};UID=u;PWD={a}}b}",
        ),
    ],
)
def test_a_database_is_translated_for_odbc(text, odbc):
    assert found(text).odbc == odbc


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("sql1", "sql1"),
        ("SQL1.eu.contoso.com", "sql1"),
        ("200.example.com", "200"),
        ("localhost", ""),
        ("127.0.0.1", ""),
        ("10.1.2.3:1433", ""),
        ("[::1]:1433", ""),
        ("(local)", ""),
        (".", ""),
    ],
)
def test_the_label_of_a_host_is_its_first(host, label):
    assert host_label(found(f"sqlserver://u:p@{host}?database=D").host) == label


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)


@given(PRINTABLE, PRINTABLE, PRINTABLE)
def test_any_name_and_password_survives_url_and_odbc(user, password, database):
    server = found(
        f"sqlserver://{quote(user, safe='')}:{quote(password, safe='')}@sql1:1433?database={quote(database, safe='')}"
    )
    assert server.database == database
    assert urls.pairs_of(server.odbc) == [
        ("Server", "sql1,1433"),
        ("UID", user),
        ("PWD", password),
        ("Database", database),
    ]
    assert found(server.odbc) == server


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", ["is neither a sqlserver:// URL nor an ODBC connection string"]),
        ("hunter2", ["is neither a sqlserver:// URL nor an ODBC connection string"]),
        ("postgres://u:hunter2@h/db", ["is not a SQL Server URL"]),
        ("sqlserver://u:hunter2@h:port?database=D", ["is not a URL"]),
        ("sqlserver://u:hunter2@[h?database=D", ["is not a URL"]),
        ("sqlserver://u:hunter2@h", ["names no database"]),
        ("sqlserver://h", ["names no database", "names no user"]),
        ("sqlserver://u:hunter2@h\\inst?database=D", ["has no readable host"]),
        ("sqlserver://u:hunter2#h?database=D", ["is not a URL"]),
        ("sqlserver://u:p#hunter2@h?database=D", ["is not a URL"]),
        ("sqlserver://u:hunter2@h/a/b?database=D", ["has a path that is no instance name"]),
        (
            "sqlserver://u:hunter2@h?database=D&encrypt=maybe&encrpt=true&database=E",
            ["has an unknown value of encrypt", "has an unknown parameter", "gives the database twice"],
        ),
        ("Server=h;PWD=hunter2", ["names no database"]),
        ("Data Source=h;Initial Catalog=D;Password=hunter2", ["names no readable server", "names no database"]),
        ("DSN=hunter2;Server=h;Database=D", ["names a data source of one machine"]),
        ("Server=h;Database=D;database=E", ["gives a keyword twice"]),
        ("Server=h;Database=D;PWD={hunter2", ["is neither a sqlserver:// URL nor an ODBC connection string"]),
    ],
)
def test_everything_wrong_is_said_without_a_secret(text, wrong):
    faults: urls.Faults = []
    assert urls.sql_server(text, faults) is None
    assert [message for message, _ in faults] == wrong
    assert "hunter2" not in str(faults)


@given(st.text() | st.text().map(lambda text: f"sqlserver://{text}"))
def test_any_text_is_read_or_refused(text):
    faults: urls.Faults = []
    assert (urls.sql_server(text, faults) is None) == bool(faults)


def test_the_secret_is_not_in_the_repr():
    assert "hunter2" not in repr(found("sqlserver://u:hunter2@h?database=D"))
