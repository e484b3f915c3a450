"""dlt: its REST source, a request for each item of a parent resource, into files of JSON lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations import filesystem
from dlt.sources.rest_api import rest_api_source


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts, in dlt's threads."""
    for name in ("EXTRACT__WORKERS", "EXTRACT__MAX_PARALLEL_ITEMS"):
        os.environ[name] = str(job["in_flight"])
    os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    tokens, endpoint, folder = job["tokens"].items(), job["endpoint"], Path(job["folder"])
    listed = [
        {"appid": a, "token": token, "day": day} for a, token in tokens for day in job["days"]
    ]
    request = {
        "method": "POST", "path": f"datacube/{endpoint}", "data_selector": "list",
        "params": {"access_token": "{resources.windows.token}"}, "paginator": "single_page",
        "json": dict.fromkeys(("begin_date", "end_date"), "{resources.windows.day}"),
    }  # fmt: skip
    child: Any = {
        "name": endpoint, "parallelized": True, "include_from_parent": ["appid", "day"],
        "endpoint": request,
    }  # fmt: skip
    windows = dlt.resource([listed], name="windows", selected=False)
    source = rest_api_source({"client": {"base_url": job["url"]}, "resources": [windows, child]})
    pipeline = dlt.pipeline(
        "peers", pipelines_dir=str(folder / "pipelines"), dataset_name="datacube",
        destination=filesystem(bucket_url=(folder / "records").as_uri()),
    )  # fmt: skip
    pipeline.run(source, loader_file_format="jsonl")
