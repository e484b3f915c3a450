"""dlt: its REST source, a request for each item of a parent resource, into files of JSON lines.

The parent lists account, token and day; the child posts them, in dlt's threads (`parallelized`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations import filesystem
from dlt.sources.rest_api import rest_api_source


def _settings(in_flight: int) -> dict[str, str]:
    return {
        "EXTRACT__WORKERS": str(in_flight),
        "EXTRACT__MAX_PARALLEL_ITEMS": str(in_flight),
        "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
    }


def _source(job: dict[str, Any]) -> Any:
    @dlt.resource(name="windows", selected=False)
    def windows() -> Iterator[list[dict[str, str]]]:
        for appid, token in job["tokens"].items():
            yield [{"appid": appid, "token": token, "day": day} for day in job["days"]]

    return rest_api_source(
        {
            "client": {"base_url": job["url"]},
            "resources": [
                windows,
                {
                    "name": job["endpoint"],
                    "parallelized": True,
                    "include_from_parent": ["appid", "day"],
                    "endpoint": {
                        "method": "POST",
                        "path": f"datacube/{job['endpoint']}",
                        "params": {"access_token": "{resources.windows.token}"},
                        "json": {
                            "begin_date": "{resources.windows.day}",
                            "end_date": "{resources.windows.day}",
                        },
                        "paginator": "single_page",
                        "data_selector": "list",
                    },
                },
            ],
        }
    )


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    os.environ.update(_settings(job["in_flight"]))
    folder = Path(job["folder"])
    pipeline = dlt.pipeline(
        "peers",
        pipelines_dir=str(folder / "pipelines"),
        destination=filesystem(bucket_url=(folder / "records").as_uri()),
        dataset_name="datacube",
    )
    pipeline.run(_source(job), loader_file_format="jsonl")
