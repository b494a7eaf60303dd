"""What the index and the service need of a trained encoder: histories in, k interests out."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from model.arrays import Floats, Rows


class Interests(NamedTuple):
    """The k interests of one user.

    Attributes:
        vectors: Interests z_j. Shape (k, d), float32.
        weights: Share of the history that each interest holds, w_j. Shape (k,), float32.
        counts: Interactions that belong to interest j most. Shape (k,), int64.
        assignment: a_tj, the share that interest j has of each interaction used.
            Shape (length, k), float32.
    """

    vectors: Floats
    weights: Floats
    counts: Rows
    assignment: Floats


class UserEncoder(Protocol):
    """What the index and the service need of a trained encoder, whatever its kind."""

    @property
    def item_vectors(self) -> Floats:
        """Vectors to index, row = item row. Shape (n_items, d), float32."""

    @property
    def item_lengths(self) -> Floats | None:
        """What item vectors of unit length were multiplied by; None: nothing.

        See ``model.inference.lengths``. Shape (n_items,), float32.
        """

    @property
    def unit_vectors(self) -> bool:
        """Whether interests and trained item vectors are of unit length, but for ``item_lengths``.

        Where they are not, scores are inner products of any size.
        """

    def history_vectors(self, rows: Rows) -> Floats:
        """Vectors of items as they count in a history: without ``item_lengths``.

        Args:
            rows: Item rows. Shape (n,), int64.

        Returns:
            Shape (n, d), float32.
        """

    @property
    def hyper_categories(self) -> Floats | None:
        """C, the unit-length directions that guide interests; None where a model has none.

        Shape (k, d), float32.
        """

    @property
    def n_interests(self) -> int:
        """k, the number of interests per user."""

    @property
    def dim(self) -> int:
        """d, the length of an interest and of an item vector."""

    @property
    def max_len(self) -> int:
        """L, how many of the last interactions are used; earlier ones are ignored."""

    def encode(self, history: Rows) -> Interests:
        """Encode one history (item rows, oldest first; shape (length,), int64)."""

    def encode_batch(self, histories: Sequence[Rows]) -> list[Interests]:
        """Encode histories together: to the last bit what ``encode`` gives for each of them."""
