"""The log that learned structure comes from, where none is given: the demo's, or a planted one."""

from pathlib import Path


def prepare_log(folder: Path, *, planted: bool) -> Path:
    """Prepare a log as a data set; return its folder.

    Args:
        folder: Where log and data set go.
        planted: Draw a small one instead of fetching MovieLens 100K.
    """
    from model.data.dataset import prepare
    from model.data.movielens import write_movielens
    from tests.planted import PlantedLog

    if planted:
        log = PlantedLog(n_users=60, n_categories=8, items_per_category=40, liked=3, length=40)
        interactions, _ = log.write(folder)
    else:
        write_movielens(folder / "movielens")
        interactions = folder / "movielens" / "interactions.csv"
    prepare(interactions, folder / "dataset", split="user")
    return folder / "dataset"
