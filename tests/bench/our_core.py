"""Our core without HTTP, cache and queue: bundle and queries in, the answers' JSON out.

The one place that knows how it is called; every benchmark of it goes through here.
"""

from collections.abc import Sequence

import orjson

from index.bundle import Bundle
from service.matching import match
from service.query import Query


def answers(bundle: Bundle, queries: Sequence[Query]) -> list[bytes]:
    """Answer queries together; each as JSON (``service.answers.StoredAnswer``)."""
    return [orjson.dumps(match(bundle, query).answer) for query in queries]
