"""Believable statistics of every interface: pure functions of seed, account and day.

Rule: no state and no clock; the same question always gets the same answer.  What grows while time
passes takes the last day that is known.

`draw` has chance and sums; then one file a subject: `posts` (articles, and getarticlesummary),
`totals` (getarticletotal), `details` (the article interfaces of November 2025), `reading` (an
account's readers), `users`, `messages`, `interfaces`, `miniprogram`, `publisher`.
"""

from harvester.testing.data.posts import LIFE_DAYS, READ_DAYS, THRESHOLD, articles, published

__all__ = ["LIFE_DAYS", "READ_DAYS", "THRESHOLD", "articles", "published"]
