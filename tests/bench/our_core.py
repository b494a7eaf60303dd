"""Our core without HTTP, cache and queue: bundle and queries in, the answers' JSON out.

The one place that knows how it is called; every benchmark of it goes through here.
"""

from collections.abc import Sequence

from index.bundles.bundle import Bundle
from service.answering.matching import match_together
from service.api.query import Query


def answers(bundle: Bundle, queries: Sequence[Query]) -> list[bytes]:
    """Answer queries together; each as JSON (``service.api.answers.StoredAnswer``)."""
    return [match.stored for match in match_together(bundle, queries)]
