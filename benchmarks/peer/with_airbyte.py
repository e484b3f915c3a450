"""Airbyte's CDK: a declarative stream, a slice a day and account, as many at once as are in flight.

What a source gives is messages, one a line; a destination, another program, would store them.
Here they are written to a file as they come, so nothing is counted but the source.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.sources.declarative.concurrent_declarative_source import (
    ConcurrentDeclarativeSource,
)


def _after(day: str) -> str:
    """The next day: the cursor's last slice reaches to the end, so it would hold two days."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _requester(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "HttpRequester",
        "url_base": job["url"],
        "path": f"/datacube/{job['endpoint']}",
        "http_method": "POST",
        "request_parameters": {
            "access_token": "{{ config['tokens'][stream_partition['appid']] }}",
        },
        "request_body_json": {
            "begin_date": "{{ stream_interval['start_time'] }}",
            "end_date": "{{ stream_interval['start_time'] }}",
        },
    }


def _stream(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "DeclarativeStream",
        "name": job["endpoint"],
        "primary_key": [],
        "retriever": {
            "type": "SimpleRetriever",
            "requester": _requester(job),
            "record_selector": {
                "type": "RecordSelector",
                "extractor": {"type": "DpathExtractor", "field_path": ["list"]},
            },
            "partition_router": {
                "type": "ListPartitionRouter",
                "cursor_field": "appid",
                "values": list(job["tokens"]),
            },
        },
        "incremental_sync": {
            "type": "DatetimeBasedCursor",
            "cursor_field": "ref_date",
            "datetime_format": "%Y-%m-%d",
            "start_datetime": {"type": "MinMaxDatetime", "datetime": job["days"][0]},
            "end_datetime": {"type": "MinMaxDatetime", "datetime": _after(job["days"][-1])},
            "step": "P1D",
            "cursor_granularity": "P1D",
        },
        "transformations": [
            {
                "type": "AddFields",
                "fields": [{"path": ["_appid"], "value": "{{ stream_slice['appid'] }}"}],
            }
        ],
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object"}},
    }


def _manifest(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": [job["endpoint"]]},
        "streams": [_stream(job)],
        "spec": {"type": "Spec", "connection_specification": {"type": "object"}},
        "concurrency_level": {
            "type": "ConcurrencyLevel",
            "default_concurrency": job["in_flight"],
            "max_concurrency": job["in_flight"],
        },
    }


def _catalog(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "streams": [
            {
                "stream": {
                    "name": job["endpoint"],
                    "json_schema": {"type": "object"},
                    "supported_sync_modes": ["full_refresh", "incremental"],
                },
                "sync_mode": "incremental",
                "destination_sync_mode": "append",
            }
        ]
    }


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    folder, config, catalog = Path(job["folder"]), {"tokens": job["tokens"]}, _catalog(job)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    source = ConcurrentDeclarativeSource(
        catalog=ConfiguredAirbyteCatalogSerializer.load(catalog),
        config=config,
        state=[],
        source_config=_manifest(job),
    )
    entry = AirbyteEntrypoint(source)
    asked = ["read", "--config", str(folder / "config.json")]
    asked += ["--catalog", str(folder / "catalog.json")]
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        for message in entry.run(entry.parse_args(asked)):
            file.write(f"{message}\n")
