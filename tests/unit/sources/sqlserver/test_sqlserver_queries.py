import pytest

from shared.sources.sqlserver import queries


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("Persons", "[Persons]"),
        ("a]b", "[a]]b]"),
        ("x]]; DROP TABLE t --", "[x]]]]; DROP TABLE t --]"),
        ("ü 1", "[ü 1]"),
    ],
)
def test_any_legal_name_is_quoted(name, quoted):
    assert queries.quoted(name) == quoted


def test_the_page_has_one_branch_per_range_of_the_clustered_index():
    text = queries.page("dbo_Persons", ["q.[ID]"])

    assert text.count("[cdc].[dbo_Persons_CT]") == 4
    assert text.count("TOP (@n)") == 5
    assert " OR " not in text
    assert "NOLOCK" not in text
    assert " JOIN " not in text
    assert text.endswith("ORDER BY q.[__$start_lsn], q.[__$command_id], q.[__$seqval], q.[__$operation]")


def test_the_last_places_of_a_constant_set_are_asked_with_a_constant_text():
    assert queries.last_places(["a", "b"]) == queries.last_places(["a", "b"])
    assert queries.last_places(["dbo_A", "dbo_B"]).count(" UNION ALL ") == 1


def test_remedies_name_what_they_are_about():
    assert queries.enable_table("dbo", "O'Neil") == (
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'O''Neil', @role_name = NULL"
    )
    assert queries.grant_changes("reader") == "GRANT SELECT ON SCHEMA::cdc TO [reader]"
