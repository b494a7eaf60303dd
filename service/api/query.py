"""What determines an answer, apart from the bundle."""

from dataclasses import dataclass

from service.api.schemas import Aggregation, MatchRequest


@dataclass(frozen=True)
class Query:
    """A match request in its canonical form: equal queries on one bundle have equal answers.

    Attributes:
        history: Item ids, oldest first; unknown ones too.
        top_k: Candidates wanted.
        exclude_seen: Leave out the items of the history.
        exclude: Item ids to leave out, sorted.
        allow: Categories of which a candidate needs one, sorted; None for no restriction.
        deny: Categories of which a candidate may have none, sorted.
        diversity: 0 (best score first) to 1.
        aggregation: How the interests' lists become one: "max" or "quota".
        explain: Name the items of the history that speak for a candidate.
    """

    history: tuple[str, ...]
    top_k: int = 100
    exclude_seen: bool = True
    exclude: tuple[str, ...] = ()
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    diversity: float = 0.0
    aggregation: Aggregation = "max"
    explain: bool = False

    @classmethod
    def of(cls, request: MatchRequest) -> "Query":
        """Take the query out of a request."""
        wanted = request.categories
        return cls(
            history=tuple(request.item_ids),
            top_k=request.top_k,
            exclude_seen=request.exclude_seen,
            exclude=tuple(request.excluded_ids),
            allow=None if not wanted or wanted.allow is None else tuple(sorted(set(wanted.allow))),
            deny=tuple(sorted(set(wanted.deny))) if wanted else (),
            diversity=request.diversity,
            aggregation=request.aggregation,
            explain=request.explain,
        )
