"""Whether a bundle is good enough to take the place of the live one.

A bundle is worse when one of these falls by more than the tolerance, a share of the live value:

    metrics.valid recall@50   what training found on validation users
    index.measured_recall     what the index finds of the exact answers; below its own promise is
                              worse in any case
    catalog.items             a broken export is the classic accident

The metric is compared only where it means the same in both: the same split of the same data set
(by name, or by the name of its log). The other two always are. With ``fit_on`` all the metrics
are those of the validated model, and comparable. What cannot be compared is said aloud and does
not stand in the way: the first bundle of a new data set has to go live somehow.
"""

import logging
from typing import NamedTuple

from index.bundles.manifest import Manifest
from model.errors import BundleError

METRIC = "recall@50"
DEFAULT_TOLERANCE = 0.05


class Comparison(NamedTuple):
    """How a bundle compares with the live one.

    Attributes:
        live: Version that was live.
        worse: What is worse, in words.
        not_compared: What could not be compared, and why.
    """

    live: str
    worse: list[str]
    not_compared: list[str]


class Admission:
    """Admits to going live what is not worse than what is live.

    Args:
        tolerance: Fall that is accepted, as a share of the live value, 0 to 1.
        force: Admit what is worse too, and say so.

    Attributes:
        comparison: What was found, None where there was nothing to compare with.
    """

    def __init__(self, tolerance: float = DEFAULT_TOLERANCE, *, force: bool = False) -> None:
        self.tolerance = tolerance
        self.force = force
        self.comparison: Comparison | None = None

    def judge(self, new: Manifest, live: Manifest) -> None:
        """Compare a bundle with the live one.

        Raises:
            BundleError: It is worse, and not forced.
        """
        comparison = compare(new, live, self.tolerance)
        self._note(comparison)
        if comparison.worse and not self.force:
            raise BundleError(
                f"{new.version} is worse than {live.version}, which stays live: "
                f"{'; '.join(comparison.worse)} (--tolerance {self.tolerance:g}); "
                "see `python -m index diff`; --force makes it live all the same"
            )

    def pass_over(self, live: str, reason: str) -> None:
        """Note that the live bundle cannot be compared with: it must not stand in the way."""
        self._note(Comparison(live, [], [f"nothing: {reason}"]))

    def _note(self, comparison: Comparison) -> None:
        self.comparison = comparison
        logger = logging.getLogger(__name__)
        for each in comparison.not_compared:
            logger.warning("Not compared with the live bundle %s: %s", comparison.live, each)
        if self.force and comparison.worse:
            found = "; ".join(comparison.worse)
            logger.warning("Forced, although worse than %s: %s", comparison.live, found)


def compare(new: Manifest, live: Manifest, tolerance: float) -> Comparison:
    """Compare two bundles by what their manifests say.

    Args:
        new: What is to go live.
        live: What is live.
        tolerance: See ``Admission``.
    """
    worse, not_compared = [], []
    reason = _why_not_comparable(new, live)
    if reason is not None:
        not_compared.append(f"{METRIC} on validation ({reason})")
    elif new.metrics.valid[METRIC] < live.metrics.valid[METRIC] * (1 - tolerance):
        values = (new.metrics.valid[METRIC], live.metrics.valid[METRIC])
        worse.append(_fall(f"{METRIC} on validation", *values))
    if new.index.measured_recall < new.index.target_recall:
        worse.append(
            f"the index finds {new.index.measured_recall:.4f} of the exact answers, its promise is "
            f"{new.index.target_recall:g}"
        )
    elif new.index.measured_recall < live.index.measured_recall * (1 - tolerance):
        values = (new.index.measured_recall, live.index.measured_recall)
        worse.append(_fall("recall of the index", *values))
    if new.catalog.items < live.catalog.items * (1 - tolerance):
        worse.append(_fall("items in the catalog", new.catalog.items, live.catalog.items, "d"))
    return Comparison(live.version, worse, not_compared)


def _why_not_comparable(new: Manifest, live: Manifest) -> str | None:
    """Say why the metrics of two bundles mean different things; None where they do not."""
    for manifest in (new, live):
        if METRIC not in manifest.metrics.valid:
            return f"{manifest.version} does not have it"
    splits = (new.dataset.get("split"), live.dataset.get("split"))
    if splits[0] != splits[1]:
        return f"split {splits[0]}, live: {splits[1]}"
    if not _data_names(new) & _data_names(live):
        names = (", ".join(sorted(_data_names(each))) or "no name" for each in (new, live))
        return "data set {}, live: {}".format(*names)
    return None


def _data_names(manifest: Manifest) -> set[str]:
    """Names of the data set and of its log; what a manifest says of its data is free."""
    return {str(name) for key in ("name", "source") if (name := manifest.dataset.get(key))}


def _fall(what: str, new: float, live: float, form: str = ".4f") -> str:
    return f"{what} {new:{form}} against {live:{form}} (−{1 - new / live:.1%})"
