"""The interfaces, as one table to be compared with WeChat's pages at a glance.

Rule: data; what an interface does with it stands in `harvester.endpoint`.
"""

from __future__ import annotations

from datetime import date

from harvester.datacube.errors import ERRORS
from harvester.endpoint import JsonEndpoint

GETARTICLESUMMARY = JsonEndpoint(
    name="getarticlesummary",
    path="/datacube/getarticlesummary",
    first_day=date(2014, 12, 1),
    span=1,
    settled_hour=8,
    errors=ERRORS,
    successors=("getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail"),
    title="reads and shares of each article on one day (retired by WeChat in 2026)",
)
"""One record an article that was read on the day: ``ref_date``, ``msgid`` (message id and place in
the message, as ``12003_3``), ``title``, and how many people (``_user``) and times (``_count``):
``int_page_read``, ``ori_page_read``, ``share``, ``add_to_fav``.  Articles with fewer than three
readers are left out, and fields may be missing."""
