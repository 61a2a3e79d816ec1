"""The sample of the settings reaches the local cloud on the ports that it usually has."""

import json
from argparse import ArgumentParser
from urllib.parse import quote

from local.cloud import BROKER_KEY, PORTS
from local.process import ROOT
from local.sqlserver.__main__ import describe


def test_the_sample_has_the_addresses_and_keys_of_the_local_cloud():
    content = json.loads((ROOT / "local.settings.sample.json").read_text())
    values, parser = content["Values"], ArgumentParser()
    describe(parser)
    user = f"sa:{quote(parser.get_default('password'))}"
    where = f"127.0.0.1:{PORTS['sqlserver']['port']}"
    assert values["SqlServer"] == f"sqlserver://{user}@{where}?database=TestDB&encrypt=disable"
    assert f"127.0.0.1:{PORTS['broker']['port']};" in values["ServiceBus"]
    assert f";SharedAccessKey={BROKER_KEY};" in values["ServiceBus"]
    assert values["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"
    assert content["Host"]["LocalHttpPort"] == PORTS["host"]["port"]
