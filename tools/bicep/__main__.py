"""Checks the Bicep templates; exit code 1 when something is wrong.

    python -m tools.bicep                 checks infra/
    python -m tools.bicep --rules         prints the rules of the security baseline

Nothing is fetched, and nothing in Azure is asked. Where `bicep` is on PATH, or BICEP names it, it builds and lints the
templates too, and its warnings count.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bicep import baseline, compiler, entities, modules, names, parameters, resources, roles, settings
from tools.bicep.findings import Finding
from tools.bicep.tree import Tree

REPOSITORY = Path(__file__).parents[2]


def check(repository: Path = REPOSITORY) -> tuple[list[Finding], Tree]:
    """Return everything that is wrong with the templates of a repository, in order, and the templates.

    What cannot be read is all that is reported about a tree that has it: the rest would follow from it.
    """
    tree = Tree(repository.resolve() / "infra")
    if tree.findings:
        return sorted(set(tree.findings)), tree
    findings = [finding for one in (resources, names, modules, parameters) for finding in one.check(tree)]
    for other in (entities, settings, baseline, roles):
        findings += other.check(tree, repository.resolve())
    return sorted(set(findings)), tree


def main(arguments: Sequence[str] | None = None) -> int:
    """Print findings as `file:line: rule: message`; return 1 when there are any."""
    parser = argparse.ArgumentParser("python -m tools.bicep", description="Checks the Bicep templates in infra/.")
    parser.add_argument("repository", nargs="?", type=Path, default=REPOSITORY, help="its root; default: this one")
    parser.add_argument("--rules", action="store_true", help="print the rules of the security baseline")
    given = parser.parse_args(arguments)
    if given.rules:
        for demand in baseline.DEMANDS:
            print(f"{demand.rule:24} {demand.type} {demand.path} {demand.ids}".rstrip())
        for rule, meaning in baseline.RULES.items():
            print(f"{rule:24} {meaning}")
        return 0
    findings, tree = check(given.repository)
    bicep = compiler.executable()
    if bicep:
        findings += compiler.check(tree.folder, bicep)
    for finding in findings:
        print(finding.show(given.repository.resolve()))
    count = sum(len(template.resources) for template in tree.templates.values())
    by = f"and with {bicep}" if bicep else f"{compiler.VARIABLE} names no compiler, and none is on PATH"
    if not findings:
        print(f"{len(tree.templates)} templates, {count} resources: nothing to object to ({by})")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
