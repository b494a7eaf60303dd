"""What a caller gets back: types that document the API, and that ``service.answering`` makes."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

ItemId = Annotated[str, Field(description="The item", examples=["174"])]
Title = Annotated[
    str,
    Field(
        description="Its title, where the catalog has one",
        examples=["Raiders of the Lost Ark (1981)"],
    ),
]
Score = Annotated[
    float,
    Field(
        description="From the model: inner product with the interest that found it. From the "
        "fallback: share of all interactions",
        examples=[0.81],
    ),
]
Rank = Annotated[int, Field(description="1 for the first", examples=[1])]
BundleVersion = Annotated[
    str, Field(description="Bundle that answered", examples=["20261123T224501Z-1a2b3c4d"])
]
UnknownItems = Annotated[
    int, Field(description="Interactions with items that the bundle does not know", examples=[0])
]
Interest = Annotated[
    int, Field(description="Which of the model's k interests, from 0", examples=[2])
]
Weight = Annotated[
    float, Field(description="Share of the history that this interest holds", examples=[0.62])
]
Interactions = Annotated[
    int, Field(description="Interactions that this interest holds most of", examples=[31])
]


class FieldProblem(TypedDict):
    """One field that cannot be used."""

    path: Annotated[
        str,
        Field(description="Where: field names and positions", examples=["interactions.3.item_id"]),
    ]
    message: Annotated[
        str, Field(description="What is wrong", examples=["must be a string or an integer"])
    ]


class Problem(TypedDict):
    """Why a request was not answered (RFC 9457)."""

    type: Annotated[str, Field(description="Kind of problem", examples=["about:blank"])]
    title: Annotated[str, Field(description="The kind in words", examples=["Invalid request"])]
    status: Annotated[int, Field(description="HTTP status", examples=[422])]
    detail: Annotated[
        str, Field(description="What to do about it", examples=["top_k: must be at most 1000"])
    ]
    errors: NotRequired[
        Annotated[list[FieldProblem], Field(description="What cannot be used, 20 fields at most")]
    ]


Cold = Annotated[
    bool,
    Field(
        description="True for an item that no training has seen yet, else left out: its place "
        "follows from items that it is like (`python -m index add-items`)",
        examples=[True],
    ),
]


class HistoryItem(TypedDict):
    """An item of the history that an interest rests on."""

    item_id: ItemId
    title: NotRequired[Title]
    weight: Annotated[
        float, Field(description="How much of it belongs to the interest", examples=[0.97])
    ]


class Reason(TypedDict):
    """An item of the history that speaks for a candidate."""

    item_id: ItemId
    title: NotRequired[Title]
    contribution: Annotated[
        float,
        Field(
            description="Its weight in the interest times its similarity to the candidate",
            examples=[0.44],
        ),
    ]


class InterestSummary(TypedDict):
    """One interest of the user."""

    interest: Interest
    weight: Weight
    interactions: Interactions
    strongest_items: Annotated[
        list[HistoryItem], Field(description="Up to 3 items of the history, strongest first")
    ]


class Candidate(TypedDict):
    """One retrieved item."""

    item_id: ItemId
    title: NotRequired[Title]
    score: Score
    rank: Rank
    interest: Annotated[
        int | None,
        Field(
            description="The interest that found it: the best one, or with "
            "`aggregation` `quota` the one for which it counts; null in the fallback",
            examples=[2],
        ),
    ]
    cold: NotRequired[Cold]
    because: NotRequired[
        Annotated[
            list[Reason], Field(description="With `explain`: up to 3 items that speak for it")
        ]
    ]


class StoredAnswer(TypedDict):
    """The part of an answer that its request and bundle determine; this is what is cached."""

    bundle_version: BundleVersion
    unknown_items: UnknownItems
    interests: Annotated[
        list[InterestSummary],
        Field(description="The user's interests, largest weight first; empty in the fallback"),
    ]
    candidates: Annotated[list[Candidate], Field(description="Best first")]


class MatchAnswer(StoredAnswer):
    """Candidates for one user."""

    request_id: Annotated[
        str, Field(description="Also in X-Request-ID and in the log", examples=["6f1c0a52"])
    ]
    source: Annotated[
        Literal["model", "cache", "fallback"],
        Field(
            description="`model`: computed for this request. `cache`: an equal request's answer. "
            "`fallback`: popular items, because nothing of the history is known"
        ),
    ]


class BatchAnswer(TypedDict):
    """Answers in the order of the requests."""

    results: Annotated[
        list[MatchAnswer | Problem],
        Field(description="An answer, or the problem with that request"),
    ]


class InterestVector(TypedDict):
    """One interest of the user as a vector."""

    interest: Interest
    weight: Weight
    interactions: Interactions
    vector: Annotated[
        list[float],
        Field(
            description="d numbers; of unit length where the model's vectors are, as those of OPAL",
            examples=[[0.12, -0.05, 0.99]],
        ),
    ]


class InterestsAnswer(TypedDict):
    """The user as k vectors; with nothing known, at weight 0, OPAL's are the hyper-categories."""

    bundle_version: BundleVersion
    unknown_items: UnknownItems
    interests: Annotated[list[InterestVector], Field(description="All k, largest weight first")]


class SimilarItem(TypedDict):
    """One near item."""

    item_id: ItemId
    title: NotRequired[Title]
    score: Annotated[
        float,
        Field(
            description="Cosine similarity; of a cold item the less, the vaguer it is known, where "
            "the model's vectors are of unit length, as those of OPAL",
            examples=[0.93],
        ),
    ]
    rank: Rank
    cold: NotRequired[Cold]


class SimilarAnswer(TypedDict):
    """The nearest items to an item, itself left out."""

    bundle_version: BundleVersion
    candidates: Annotated[list[SimilarItem], Field(description="Nearest first")]


class Health(TypedDict):
    """That the process answers, or is ready to."""

    status: Annotated[str, Field(description="`ok` or `ready`", examples=["ok"])]
    bundle_version: NotRequired[BundleVersion]


class BundleState(TypedDict):
    """One bundle of the registry."""

    version: BundleVersion
    created: Annotated[
        str | None, Field(description="When it was built", examples=["2026-11-23T22:45:01+00:00"])
    ]
    model: Annotated[str | None, Field(description="Which model it holds", examples=["opal"])]
    items: Annotated[int | None, Field(description="Catalog size", examples=[1682])]
    index: Annotated[str | None, Field(description="Kind of index", examples=["flat"])]
    metrics: Annotated[
        dict[str, Any],
        Field(
            description="Offline metrics of the manifest",
            examples=[{"test": {"recall@50": 0.35}}],
        ),
    ]
    current: Annotated[bool, Field(description="CURRENT names it")]
    live: Annotated[bool, Field(description="The worker that answers serves it")]
    refused: Annotated[
        str | None, Field(description="Why this worker refused it, if it did", examples=[None])
    ]


class BundlesAnswer(TypedDict):
    """The registry as the worker that answers sees it."""

    live: Annotated[str | None, Field(description="Bundle that this worker serves")]
    current: Annotated[str | None, Field(description="What CURRENT names")]
    bundles: Annotated[list[BundleState], Field(description="Newest first")]


class TakedownAnswer(TypedDict):
    """An item that is not served."""

    item_id: ItemId
    since: Annotated[
        str, Field(description="When it was taken down", examples=["2026-11-25T16:02:37+00:00"])
    ]
    reason: Annotated[
        str | None, Field(description="Why, if somebody said so", examples=["DMCA 2026-118"])
    ]
    known: Annotated[bool, Field(description="The live bundle has the item")]


class TakedownPut(TakedownAnswer):
    """That this worker does not serve the item; the others follow within a second."""

    new: Annotated[bool, Field(description="It was not taken down before")]


class TakedownsAnswer(TypedDict):
    """The takedowns in force."""

    count: Annotated[int, Field(description="How many there are in all", examples=[3])]
    takedowns: Annotated[list[TakedownAnswer], Field(description="By item id")]
    next: Annotated[
        str | None,
        Field(description="Where there are more: give it as `after`", examples=[None]),
    ]


class SwapAnswer(TypedDict):
    """That this worker serves the bundle; the others follow within the reload interval."""

    bundle_version: BundleVersion
    previous: Annotated[str | None, Field(description="What it served before")]
