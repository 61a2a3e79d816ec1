"""`python -m local.containers`: what the containers of compose.yaml are started with, in `.local/containers`.

The queues and topics that a `sluice.hcl` needs, as far as Microsoft's Service Bus emulator takes them, and a
certificate for its management API, which the SDKs speak over TLS alone.

Source:
    https://learn.microsoft.com/azure/service-bus-messaging/overview-emulator
    https://github.com/Azure/azure-service-bus-emulator-installer (ServiceBus-Emulator/Schema/Config-schema.json)
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from local.broker.certificates import write
from local.broker.config import duration_ms
from local.configuration import read
from local.entities import entities
from local.host.settings import load_local_settings
from local.process import ROOT
from shared.errors import ConfigError, InvalidConfigError
from shared.settings.load import FILE_SETTING
from shared.settings.names import CAPTURE_SCHEDULE, INGEST_QUEUE, TOPICS_SCHEDULE

DIRECTORY = ROOT / ".local" / "containers"
CONFIG, CERTIFICATE, KEY = "Config.json", "administration.pem", "administration.key"
CA_FILE = ROOT / ".local" / "broker-ca.pem"
"""Where the sample settings look for the authority of the management API, of the local broker or of the container."""

BINDINGS = (INGEST_QUEUE, CAPTURE_SCHEDULE, TOPICS_SCHEDULE)

MAX_ENTITIES = 50
MAX_DELIVERIES = 10
MAX_TIME_TO_LIVE = "PT1H"
MAX_DETECTION_WINDOW = "PT5M"
NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][\w\-./]*[A-Za-z0-9]", re.ASCII)


def reduced(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Config.json as the emulator takes it: messages live for an hour, ten deliveries, a short window.

    Raises:
        ConfigError: it takes no so many queues and topics, or none of such a name.
    """
    small = deepcopy(dict(config))
    [namespace] = small["UserConfig"]["Namespaces"]
    queues, topics = namespace["Queues"], namespace["Topics"]
    if len(queues) + len(topics) > MAX_ENTITIES:
        reason = f"Microsoft's emulator takes {MAX_ENTITIES} queues and topics, not {len(queues) + len(topics)}"
        raise ConfigError(reason, hint="name fewer tables in a sluice.hcl of its own: SLUICE_CONFIG")
    for entity in (*queues, *topics):
        if not NAME.fullmatch(entity["Name"]):
            reason = "Microsoft's emulator takes no such name"
            raise ConfigError(reason, value=entity["Name"], hint="leave its table out")
    subscriptions = [subscription for topic in topics for subscription in topic["Subscriptions"]]
    for each in (*queues, *topics, *subscriptions):
        properties = each["Properties"]
        properties["DefaultMessageTimeToLive"] = MAX_TIME_TO_LIVE
        if "MaxDeliveryCount" in properties:
            properties["MaxDeliveryCount"] = min(properties["MaxDeliveryCount"], MAX_DELIVERIES)
        if window := properties.get("DuplicateDetectionHistoryTimeWindow"):
            shorter = min(window, MAX_DETECTION_WINDOW, key=lambda text: duration_ms(text) or sys.maxsize)
            properties["DuplicateDetectionHistoryTimeWindow"] = shorter
    return small


def prepare(settings_file: Path, environ: Mapping[str, str], directory: Path = DIRECTORY, ca: Path = CA_FILE) -> None:
    """Write the entities of a `sluice.hcl`, and a certificate unless there is one.

    What the environment leaves open is as the sample settings have it.

    Raises:
        InvalidConfigError: the file cannot work.
        ConfigError: the emulator does not take what it needs.
    """
    usual: dict[str, str] = {}
    load_local_settings(ROOT / "local.settings.sample.json", usual)
    for binding in BINDINGS:  # the file may say them itself
        del usual[binding]
    config = reduced(entities(read(settings_file, {**usual, **environ})))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    certificate, key = directory / CERTIFICATE, directory / KEY
    if not (certificate.exists() and key.exists()):
        write(certificate, key)
    shutil.copyfile(certificate, ca)


def main() -> None:
    """Write the files; exit code 2 for bad settings."""
    try:
        prepare(Path(os.environ.get(FILE_SETTING) or ROOT / "sluice.hcl"), os.environ)
    except (ConfigError, InvalidConfigError) as why:
        print(f"error: {why}", file=sys.stderr)
        sys.exit(2)
    print(f"{DIRECTORY}: {CONFIG}, {CERTIFICATE}")


if __name__ == "__main__":
    main()
