import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings.tables import Intervals, table

NAMES = st.text(min_size=1, max_size=128)


def bracketed(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


@given(NAMES, NAMES)
def test_any_name_can_be_written_in_brackets(schema, name):
    found = table(f"{bracketed(schema)}.{bracketed(name)}", Intervals())
    assert found is not None
    assert (found.schema, found.name) == (schema, name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Persons", ("dbo", "Persons")),
        ("sales.Orders", ("sales", "Orders")),
        ("Order Details", ("dbo", "Order Details")),
        ("sales.[a.b]", ("sales", "a.b")),
        ("[sales].Orders", ("sales", "Orders")),
    ],
)
def test_a_table_is_named_with_or_without_its_schema(text, names):
    found = table(text, Intervals())
    assert found is not None
    assert (found.schema, found.name) == names


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "db.dbo.a", " a", "a ", "[a", "a]", "[]", "[a]b", "a[b]", "x" * 129]
)
def test_what_names_no_table_is_refused(text):
    assert table(text, Intervals()) is None


@given(st.text())
def test_any_text_names_a_table_or_none(text):
    found = table(text, Intervals())
    assert found is None or (found.schema and found.name)
