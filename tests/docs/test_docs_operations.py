from tests.docs.code import HOLE, hints, log_lines, modules
from tests.docs.markdown import ROOT, words

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TWINS = {"memory.py", "scripted.py"}


def rows() -> dict[str, str]:
    """Return the level that the page gives each log line."""
    section = PAGE.partition("## Log lines")[2].partition("## Errors")[0]
    cells = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    return {line.strip(" `"): level.strip() for _, line, level, *_ in cells}


def test_every_log_line_is_explained_with_its_level_and_no_other_is():
    logged = {line: level for _, tree in modules("shared", "cli", "functions") for level, line in log_lines(tree)}
    assert rows() == logged


def test_every_hint_outside_of_the_configuration_file_is_explained():
    page = words(PAGE)
    missing = []
    for path, tree in modules("shared", "cli"):
        if "settings" in path.parts or path.name in TWINS:
            continue
        for hint in hints(tree):
            longest = max(words(hint).split(HOLE), key=len).strip(" ,:;'")
            if longest not in page:
                missing.append(f"{path.name}: {hint}")
    assert missing == []
