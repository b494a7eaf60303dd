"""What is asked of the ScaNN library: train, write, read, grow. Nothing else knows its files.

ScaNN writes a folder. Ours is one safetensors file of that folder's arrays, without the vectors:
the encoder of the bundle has them, and ScaNN gets them from there again. Of ScaNN's own loader,
which would unpickle a file that lies there, no use is made.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Mask
from model.tensor_files import Tensors

INSTALL = "install it with pip install 'opal-match[scann]' (in a checkout: '.[scann]')"

LEAF_OF_ROW, CODES = "leaf_of_row", "codes"
_SIZES = "sizes"
_VECTORS = "vectors"

_ARRAYS = {
    LEAF_OF_ROW: ("TOKENIZATION_NPY", "datapoint_to_token.npy"),
    CODES: ("AH_DATASET_NPY", "hashed_dataset.npy"),
}
_MESSAGES = {
    "codebook": ("AH_CENTERS", "ah_codebook.pb"),
    "partitioner": ("PARTITIONER", "serialized_partitioner.pb"),
}
"""By our name: ScaNN's type and file name. Messages are Protocol Buffers, kept as their bytes."""

_DIMENSIONS_PER_CODE = 2
_VALUES_OF_A_CODE = 16
_TRAINING_SAMPLE = 250_000
_NOISE_SHAPING = 0.2
"""How much more an error along a vector counts than one across it, which inner products see less:
ScaNN's anisotropic quantization, at the value of its authors' examples."""

# Every search says how many leaves, answers and rescored ones it wants; these are never used.
_UNUSED_LEAVES, _UNUSED_ANSWERS, _UNUSED_REORDERED = 1, 100, 200

Found = tuple[Floats, NDArray[np.uint32]]
"""Inner products and rows. Shapes (found,), float32 and uint32."""

_logger = logging.getLogger(__name__)


class Searcher:
    """ScaNN's structure over item vectors, in memory.

    Args:
        native: ScaNN's own object.
        dim: d, the length of an item vector.
        n_leaves: Leaves of its tree.
    """

    def __init__(self, native: Any, *, dim: int, n_leaves: int) -> None:
        self._native = native
        self.dim = dim
        self.n_leaves = n_leaves

    def search(self, query: Floats, n: int, *, leaves: int, reordered: int) -> Found:
        """Search for one query, on the calling thread.

        ScaNN's call for several queries does not give each what it gives it alone.

        Args:
            query: Shape (d,), float32.
            n: Answers wanted.
            leaves: Of the tree, to look into.
            reordered: How many of what they hold are scored with their vectors; at least n.

        Returns:
            Inner products and rows, best first; fewer than n where the leaves hold no more.
        """
        rows, scores = self._native.search(query, n, reordered, leaves)
        return scores, rows

    def add(self, vectors: Floats) -> None:
        """Add items; nothing is trained anew. Shape (m, d), float32."""
        if len(vectors):
            self._native.upsert([None] * len(vectors), np.ascontiguousarray(vectors), 1)

    def tensors(self) -> Tensors:
        """Return what is written to a file: all but the vectors."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self._native.serialize(name, True)
            arrays = {each: np.load(folder / file) for each, (_, file) in _ARRAYS.items()}
            messages = {
                each: np.frombuffer((folder / file).read_bytes(), dtype=np.uint8)
                for each, (_, file) in _MESSAGES.items()
            }
        return {_SIZES: np.array([self.dim, self.n_leaves]), **arrays, **messages}


def train(item_vectors: Floats, *, n_leaves: int, threads: int) -> Searcher:
    """Train a tree and codes, and fill them. Two trainings differ: ScaNN has no seed.

    Args:
        item_vectors: Shape (n_items, d), float32.
        n_leaves: Leaves of the tree.
        threads: Of the training.

    Raises:
        ImportError: ScaNN is not installed.
        RuntimeError: ScaNN rejects the vectors; too few of them, for example.
    """
    dim = item_vectors.shape[1]
    library = _library()
    with _quietly():
        native = library.ScannNumpy(item_vectors, _config(dim, n_leaves), threads)
    return Searcher(native, dim=dim, n_leaves=n_leaves)


def read(tensors: Tensors, item_vectors: Floats) -> Searcher:
    """Make a searcher of what ``Searcher.tensors`` returned.

    ScaNN copies all of it to the memory of this process. It takes it from files without a name,
    in memory too: a folder for temporary files may be too small, or left full by a kill.

    Args:
        tensors: Its arrays.
        item_vectors: Of the same items. Shape (n_items, d), float32.

    Raises:
        ImportError: ScaNN is not installed.
        ValueError: The arrays are not those of a searcher of such vectors.
        RuntimeError: ScaNN rejects them; also IndexError.
    """
    library = _library()
    dim, n_leaves = _checked(tensors, item_vectors)
    files = [(kind, tensors[name], True) for name, (kind, _) in _ARRAYS.items()]
    files += [(kind, tensors[name], False) for name, (kind, _) in _MESSAGES.items()]
    files.append(("DATASET_NPY", item_vectors, True))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(folder) / "scann_config.pb").write_bytes(_config_message(dim, n_leaves))
        assets = ""
        for kind, array, is_array in files:
            file = stack.enter_context(os.fdopen(os.memfd_create(kind), "wb"))
            if is_array:
                np.save(file, array)
            else:
                file.write(array.tobytes())
            file.flush()
            path = f"/proc/self/fd/{file.fileno()}"
            assets += f'assets {{ asset_type: {kind} asset_path: "{path}" }}\n'
        native = library.ScannNumpy(folder, assets)
    return Searcher(native, dim=dim, n_leaves=n_leaves)


def only(tensors: Tensors, kept: Mask) -> Tensors:
    """Leave items out of what ``Searcher.tensors`` returned. Shape (n_items,), bool."""
    return {name: array[kept] if name in _ARRAYS else array for name, array in tensors.items()}


def _checked(tensors: Tensors, item_vectors: Floats) -> tuple[int, int]:
    """Return dimensions and leaves; raise ValueError where ScaNN would read past something."""
    expected = {_SIZES, *_ARRAYS, *_MESSAGES}
    if set(tensors) != expected:
        raise ValueError(f"holds {', '.join(sorted(tensors))}; expected {sorted(expected)}")
    if tensors[_SIZES].shape != (2,) or tensors[_SIZES].dtype != np.int64:
        raise ValueError(f"{_SIZES} has shape {tensors[_SIZES].shape}, expected (2,), int64")
    dim, n_leaves = tensors[_SIZES].tolist()
    leaf_of_row, codes = tensors[LEAF_OF_ROW], tensors[CODES]
    if (len(leaf_of_row), dim) != item_vectors.shape:
        raise ValueError(
            f"holds {len(leaf_of_row)} vectors of {dim} dimensions, the encoder "
            f"{item_vectors.shape[0]} of {item_vectors.shape[1]}"
        )
    shapes = {LEAF_OF_ROW: (len(leaf_of_row),), CODES: (len(leaf_of_row), n_codes(dim))}
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{name} has shape {tensors[name].shape}, expected {shape}")
    if leaf_of_row.dtype != np.int32 or codes.dtype != np.uint8:
        raise ValueError(f"{LEAF_OF_ROW} is {leaf_of_row.dtype}, {CODES} are {codes.dtype}")
    if not 0 <= leaf_of_row.min() <= leaf_of_row.max() < n_leaves:
        raise ValueError(f"{LEAF_OF_ROW} lies outside 0…{n_leaves - 1}")
    if codes.max() >= _VALUES_OF_A_CODE:
        raise ValueError(f"{CODES} lie outside 0…{_VALUES_OF_A_CODE - 1}")
    return dim, n_leaves


def n_codes(dim: int) -> int:
    """Return how many codes a vector of ``dim`` dimensions has."""
    return -(-dim // _DIMENSIONS_PER_CODE)


def _library() -> Any:
    """Import what ScaNN's Python layer is a thin cover of."""
    from scann.scann_ops.py.scann_ops_pybind import scann_pybind

    return scann_pybind


def _config(dim: int, n_leaves: int) -> str:
    """Say in ScaNN's words what is trained: tree, codes of four bits, scoring with the vectors."""
    from scann.scann_ops.py.scann_builder import ScannBuilder

    # Of the vectors it looks at nothing but their length.
    builder = ScannBuilder(np.empty((1, dim), np.float32), _UNUSED_ANSWERS, "dot_product")
    builder.tree(n_leaves, _UNUSED_LEAVES, training_sample_size=_TRAINING_SAMPLE)
    builder.score_ah(_DIMENSIONS_PER_CODE, anisotropic_quantization_threshold=_NOISE_SHAPING)
    builder.reorder(_UNUSED_REORDERED)
    config: str = builder.create_config()
    return config


def _config_message(dim: int, n_leaves: int) -> bytes:
    from google.protobuf import text_format
    from scann.proto.scann_pb2 import ScannConfig

    message: bytes = text_format.Parse(_config(dim, n_leaves), ScannConfig()).SerializeToString()
    return message


@contextmanager
def _quietly() -> Iterator[None]:
    """Send to the debug log what ScaNN writes to standard error whatever one sets."""
    with tempfile.TemporaryFile() as said:
        standard_error = os.dup(2)
        try:
            os.dup2(said.fileno(), 2)
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines():
                _logger.debug("ScaNN: %s", line)
