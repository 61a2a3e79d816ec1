import ast
from datetime import timedelta
from pathlib import Path

import pytest
from pycep import BicepParser

from tools.bicep import syntax
from tools.bicep.durations import duration
from tools.bicep.models import model
from tools.bicep.parse import parse
from tools.bicep.reads import HOLE, Code
from tools.bicep.tree import UNKNOWN, Placed, Tree

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "infra").rglob("*.bicep"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_second_parser_understands_every_template(path):
    found = BicepParser().parse(text=path.read_text(encoding="utf-8"))
    template, findings = parse(path, path.read_text(encoding="utf-8"))

    assert findings == []
    assert set(found.get("resources", {})) == set(template.resources)
    assert set(found.get("parameters", {})) == set(template.parameters)


def test_nothing_is_fetched_when_templates_are_built():
    modules = [module.file for path in TEMPLATES for module in parse(path, path.read_text())[0].modules.values()]

    assert modules
    assert all(file.startswith("modules/") for file in modules)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT1M", timedelta(minutes=1)),
        ("P14D", timedelta(days=14)),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("P10675199DT2H48M5.4775807S", timedelta(days=10_675_199, hours=2, minutes=48, seconds=5.4775807)),
        ("P", None),
        ("PT", None),
        ("P1DT", None),
        ("P1M", None),
        ("00:01:00", None),
        ("-PT1M", None),
    ],
)
def test_durations_are_those_of_iso_8601(text, expected):
    assert duration(text) == expected


def test_a_text_keeps_its_escapes_and_its_holes():
    template, findings = parse(Path("x"), r"var a = 'it\'s ${b} \${c}'")

    value = template.variables["a"].value
    assert findings == []
    assert isinstance(value, syntax.Text)
    assert "".join(part if isinstance(part, str) else "…" for part in value.parts) == "it's … ${c}"
    assert value.literal is None


def tree(place: Path, main: str, **modules: str) -> Tree:
    (place / "main.bicep").write_text(main)
    for name, text in modules.items():
        (place / f"{name}.bicep").write_text(text)
    return Tree(place)


def test_a_value_is_followed_through_variables_choices_and_modules(tmp_path):
    found = tree(
        tmp_path,
        "param closed bool = false\nvar how = closed ? 'no' : 'yes'\n"
        "module m 'inner.bicep' = {\n  name: 'm'\n  params: {\n    open: how\n  }\n}\n"
        "output AGAIN string = m.outputs.said\n",
        inner="param open string\noutput said string = 'said ${open}'\n",
    )
    value = Placed(found.main, found.main.outputs["AGAIN"].value)

    assert found.possible(value) == {"said no", "said yes"}
    assert found.possible(value, {"closed": True}) == {"said no"}


def test_what_only_the_deployment_knows_is_unknown(tmp_path):
    found = tree(tmp_path, "param name string = 'a'\noutput NAME string = name\noutput ID string = guid(name)\n")

    assert found.possible(Placed(found.main, found.main.outputs["NAME"].value)) == {"a", UNKNOWN}
    assert found.possible(Placed(found.main, found.main.outputs["ID"].value)) == {UNKNOWN}


def test_both_generations_of_packages_tell_their_properties():
    queue = model("azure.mgmt.servicebus.models:SBQueue").fields["properties"].shape
    components = model("azure.mgmt.applicationinsights.v2020_02_02.models:ApplicationInsightsComponent")
    insights = components.fields["properties"].shape

    assert hasattr(queue, "fields")
    assert getattr(queue.fields["lockDuration"].shape, "duration", False)
    assert queue.fields["messageCount"].read_only
    assert components.fields["kind"].required
    assert hasattr(insights, "fields")
    assert insights.fields["ConnectionString"].read_only


def reads(place: Path, text: str) -> set[str]:
    (place / "shared").mkdir()
    (place / "functions").mkdir()
    (place / "function_app.py").write_text("")
    (place / "shared" / "one.py").write_text(text)
    return {read.name for read in Code.of(place).environment()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('os.environ["A"]', {"A"}),
        ('os.getenv("A", "b")', {"A"}),
        ('"A" in os.environ', {"A"}),
        ('A = "B"\nos.environ.get(A)', {"B"}),
        ('N = ("A", "B")\nfor n in N:\n    environ.get(f"{n}__x")', {"A__x", "B__x"}),
        ('[environ.get(f"{s}Uri") for s in ("blob", "table")]', {"blobUri", "tableUri"}),
        ('def f(environ, name="A"):\n    environ.get(name)\nf({}, "B")', {"A", "B"}),
        ('def f(environ, name):\n    environ.get(f"{name}__id")\nf({}, unknown())', {f"{HOLE}__id"}),
        ('other.get("A")', set()),
    ],
)
def test_what_the_code_reads_is_found_in_its_syntax(tmp_path, text, expected):
    ast.parse(text)

    assert reads(tmp_path, text) == expected
