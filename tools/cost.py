"""What the default deployment costs a month: the tables of docs/deploy.md, from a formula, assumptions and prices.

    python -m tools.cost            prints them
    python -m tools.cost --write    puts them between the markers of docs/deploy.md

The default deployment: one Standard namespace, a 15 s timer, 512 MB, one shard, nothing always ready. Prices are list
prices in US dollars for West Europe, of August 2026, without tax and discounts; `PRICES` says where each is from.
"""

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEPLOY: Final = Path(__file__).parents[1] / "docs" / "deploy.md"
SECTION: Final = re.compile(r"(<!-- cost -->\n).*?(<!-- end of cost -->)", re.DOTALL)

DAYS: Final = 30
MONTH_S: Final = DAYS * 86_400
GB: Final = 512 / 1024
"""Memory of an instance."""
TICKS: Final = MONTH_S // 15
SYNCS: Final = MONTH_S // 300
LINGERING: Final = 20 / 30
"""A tick lingers for 20 s while changes keep arriving; the next one starts at the next quarter of a minute."""
LOOKS_A_DAY: Final = round(86_400 * LINGERING)
"""How often a table that keeps changing is looked at: `poll_interval` 1 s. One look makes one pack."""

TABLES: Final = 10
CONSUMERS: Final = 1
ITEMS: Final = 4
"""Telemetry items of an invocation: the request, two lines of the host, one of Sluice."""
ITEMS_A_SECOND: Final = 1
"""`maxTelemetryItemsPerSecond` of host.json, of each instance."""
KB_OF_AN_ENTRY: Final = 1.0
KB_OF_A_METRIC: Final = 0.5
METRICS: Final = 40
"""Figures that Azure writes into the workspace every minute, of all resources."""
STORAGE_CALLS_A_PACK: Final = 3
"""The state after it was sent, the mark before and after it is delivered; `make bench` counts them."""
STORAGE_CALLS_A_TICK: Final = 2
"""One for the lease, one for `control`."""
HOST_CALL_EVERY_S: Final = 5
"""Calls of the host in its own account while it runs, most of them leases that it renews; assumed."""
CREDITS_A_SECOND: Final = 1_000
"""Of a Standard namespace. https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling"""

INFRACOST: Final = "infracost's recorded prices"
PRICES: Final = {
    "Service Bus Standard, a month": (9.81, INFRACOST),
    "… its operations above 13 M, a million": (0.80, INFRACOST),
    "… above 100 M": (0.50, INFRACOST),
    "… above 2,500 M": (0.20, INFRACOST),
    "Service Bus Premium, a messaging unit, a month": (677.08, INFRACOST),
    "Flex Consumption above 100,000 GB-s, a GB-s": (0.000026, "third-party tables"),
    "… executions above 250,000, a million": (0.40, "third-party tables"),
    "Table storage, 10,000 calls": (0.00036, INFRACOST),
    "Blob leases, 10,000 calls": (0.0043, INFRACOST),
    "Log Analytics, a GB": (2.99, INFRACOST),
    "Private endpoint, a month": (7.30, INFRACOST),
}
BASE, FIRST, SECOND, THIRD, PREMIUM, GB_S, EXECUTIONS, TABLE_CALLS, LEASES, LOGS, ENDPOINT = (
    price for price, _ in PRICES.values()
)
ENDPOINTS: Final = 5
"""Of the two storage accounts three, of Key Vault and the namespace one each."""


@dataclass(frozen=True, slots=True)
class Month:
    """One month at an even rate of changes, the dearest way to have them; all sums in US dollars."""

    changes_a_day: int

    @property
    def changes(self) -> int:
        """Changes of all tables."""
        return self.changes_a_day * DAYS

    @property
    def packs(self) -> int:
        """Messages on the ingest queue: one for each look at a table that has changes."""
        return DAYS * TABLES * min(LOOKS_A_DAY, math.ceil(self.changes_a_day / TABLES))

    @property
    def operations(self) -> int:
        """Service Bus operations: a pack is sent, received and completed, so is a change for each consumer."""
        return 3 * self.packs + (1 + 2 * CONSUMERS) * self.changes

    @property
    def ticks(self) -> int:
        """Executions of capture: one that lingers takes the place of two."""
        return TICKS // 2 if self.packs else TICKS

    @property
    def storage_calls(self) -> int:
        """Calls of the table service and of leases."""
        return STORAGE_CALLS_A_TICK * self.ticks + STORAGE_CALLS_A_PACK * self.packs

    @property
    def gb_s(self) -> float:
        """Capture and deliver are busy while a tick lingers; an idle tick and a sync count as a second each."""
        busy_s = 2 * LINGERING * MONTH_S if self.packs else self.ticks
        return GB * (busy_s + SYNCS)

    @property
    def service_bus(self) -> float:
        """The base price and the operations, in steps."""
        millions = self.operations / 1e6
        steps = ((13, 100, FIRST), (100, 2_500, SECOND), (2_500, math.inf, THIRD))
        return BASE + sum(price * max(0.0, min(millions, high) - low) for low, high, price in steps)

    @property
    def functions(self) -> float:
        """Memory and executions beyond the free grant of a subscription."""
        executions = self.ticks + SYNCS + self.packs
        return GB_S * max(0.0, self.gb_s - 100_000) + EXECUTIONS * max(0.0, executions / 1e6 - 0.25)

    @property
    def storage(self) -> float:
        """Table calls and leases; what is stored is a few kilobytes a table."""
        return TABLE_CALLS * (self.storage_calls - self.ticks) / 1e4 + LEASES * self.ticks / 1e4

    @property
    def telemetry(self) -> float:
        """Application Insights, sampled above one item a second of each of two instances."""
        items = min(ITEMS * (self.ticks + SYNCS + self.packs), 2 * ITEMS_A_SECOND * MONTH_S)
        return LOGS * items * KB_OF_AN_ENTRY / 1e6

    @property
    def audit(self) -> float:
        """Every call of the state's storage in the workspace, as `auditState` asks for."""
        return LOGS * self.storage_calls * KB_OF_AN_ENTRY / 1e6

    @property
    def host_audit(self) -> float:
        """Every call of the host's storage in the workspace."""
        return LOGS * MONTH_S / HOST_CALL_EVERY_S * KB_OF_AN_ENTRY / 1e6

    @property
    def metrics(self) -> float:
        """Azure's own figures in the workspace."""
        return LOGS * METRICS * (MONTH_S / 60) * KB_OF_A_METRIC / 1e6

    @property
    def parts(self) -> dict[str, float]:
        """What it is made of."""
        return {
            "Service Bus": self.service_bus,
            "Functions": self.functions,
            "Storage": self.storage,
            "Application Insights": self.telemetry,
            "Audit log of the host's storage": self.host_audit,
            "Metrics in the workspace": self.metrics,
        }

    @property
    def namespaces(self) -> int:
        """Standard namespaces that the rate needs: a change costs an operation each, and one for the filter."""
        credits_a_second = (self.operations + CONSUMERS * self.changes) / MONTH_S
        return max(1, math.ceil(credits_a_second / CREDITS_A_SECOND))


def tables() -> str:
    """Return both tables as Markdown."""
    months = [Month(0), Month(1_000_000), Month(100_000_000)]
    lines = ["| US dollars a month | at rest | 1 M changes a day | 100 M changes a day |", "|---|---|---|---|"]
    lines += [f"| {part} | {' | '.join(f'{month.parts[part]:,.2f}' for month in months)} |" for part in months[0].parts]
    totals = [sum(month.parts.values()) for month in months]
    lines.append("| **together** | " + " | ".join(f"**{total:,.0f}**" for total in totals) + " |")
    audited = [total + month.audit for total, month in zip(totals, months, strict=True)]
    lines.append("| … and the audit log of the state | " + " | ".join(f"{total:,.0f}" for total in audited) + " |")
    premium = [total - month.service_bus + PREMIUM for total, month in zip(totals, months, strict=True)]
    lines.append("| … with one Premium unit instead | " + " | ".join(f"{total:,.0f}" for total in premium) + " |")
    private = [total + ENDPOINTS * ENDPOINT for total in premium]
    lines.append("| … and private networking | " + " | ".join(f"{total:,.0f}" for total in private) + " |")
    lines.append("| Standard namespaces needed | " + " | ".join(str(month.namespaces) for month in months) + " |")
    lines += ["", "| price, August 2026, West Europe | US dollars | from |", "|---|---|---|"]
    lines += [f"| {what} | {f'{price:f}'.rstrip('0')} | {where} |" for what, (price, where) in PRICES.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables, or with `--write` put them into docs/deploy.md."""
    if sys.argv[1:] == ["--write"]:
        text = DEPLOY.read_text(encoding="utf-8")
        DEPLOY.write_text(SECTION.sub(lambda found: f"{found[1]}{tables()}{found[2]}", text), encoding="utf-8")
    else:
        print(tables(), end="")


if __name__ == "__main__":
    main()
