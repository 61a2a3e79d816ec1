"""Rows larger than a message may be: their bodies are stored aside, and the stream goes on."""

import base64
import hashlib
import json

import pytest
from azure.storage.blob.aio import BlobServiceClient

from shared import naming
from tests.pipeline import pipeline, table_stream

LIMIT = 256 * 1024
FIVE_MB = 5 * 1024 * 1024
AROUND = range(LIMIT - 8 * 1024, LIMIT + 2 * 1024, 1024)
"""Characters of rows whose messages are a little smaller than the broker takes, and a little larger."""
LENGTHS = (10, FIVE_MB, 20, *AROUND, 30)


@pytest.mark.timeout(100)
async def test_rows_too_large_for_a_message_arrive_as_claim_checks_in_their_places(tmp_path):
    async with pipeline(tmp_path, name="nvarchar(max)") as line:
        await line.start("capture")
        await line.start("deliver")
        for key, length in enumerate(LENGTHS):
            line.execute("INSERT INTO dbo.Persons (ID, Name) VALUES (?, ?)", key, "x" * length)
        topic = naming.topic(table_stream("Persons"))
        await line.cloud.part("broker").until(lambda state: state["entities"][topic]["incoming"] == len(LENGTHS))

        bodies = [json.loads(base64.b64decode(message["body"])) for message in await line.topic("Persons")]
        claims = [body["metadata"].get("ClaimCheck") for body in bodies]
        wholes = []
        async with BlobServiceClient.from_connection_string(line.environment["AzureWebJobsStorage"]) as storage:
            for body, claim in zip(bodies, claims, strict=True):
                if claim is None:
                    wholes.append(body)
                    continue
                assert body["data"] is None
                blob = storage.get_blob_client(claim["container"], claim["blob"])
                content = await (await blob.download_blob()).readall()
                assert (len(content), hashlib.sha256(content).hexdigest()) == (claim["bytes"], claim["sha256"])
                wholes.append(json.loads(content))
                assert {**wholes[-1]["metadata"], "ClaimCheck": claim} == body["metadata"]
        expected = [{"ID": key, "Name": "x" * length} for key, length in enumerate(LENGTHS)]
        assert [whole["data"] for whole in wholes] == expected

        aside = {length: claim is not None for length, claim in zip(LENGTHS, claims, strict=True)}
        assert not aside[AROUND[0]], "what fits is sent whole"
        assert [aside[length] for length in sorted(LENGTHS)] == sorted(aside.values()), "and only that"
        assert aside[LIMIT]
