"""Element vectors by atomic number: mat2vec through gensim, one-hot, and other published tables.

The tables ship in the package ElementEmbeddings (input/README.md has their papers). The original mat2vec model, a gensim
Word2Vec file, takes precedence if the user has put it at input/mat2vec/pretrained_embeddings.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing import current_process
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from src.config import ElementConfig
from src.data.crystal import N_ELEMENTS
from src.data.table import SYMBOLS
from src.storage.cache import file_key

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

log = logging.getLogger(__name__)
EMBEDDINGS = {  # learned vectors: each row is scaled to norm sqrt(n_features)
    "mat2vec": "mat2vec.csv",
    "skipatom": "skipatom_20201009_induced.csv",
    "matscholar": "matscholar-embedding.json",
    "megnet16": "megnet16.json",
}
PROPERTIES = {"magpie": "magpie.csv", "oliynyk": "oliynyk_preprocessed.csv"}  # measured: each column is standardised
ELEMENT_TABLES = ("one_hot", *EMBEDDINGS, *PROPERTIES)


@lru_cache
def element_vectors(config: ElementConfig, word2vec: Path | None = None) -> NDArray[np.float64]:
    """Return the tables of the config side by side, (N_ELEMENTS, n_features), with entries of about unit variance.

    Elements that a table lacks get the mean of its vectors; the log lists them.
    word2vec: a gensim Word2Vec file with the vectors of mat2vec; None: the packaged table.
    """
    return np.concatenate([_table(name, word2vec) for name in config.tables], axis=1)


def mat2vec(word2vec: Path | None = None) -> "KeyedVectors":
    """Return mat2vec, element symbols among its keys (Tshitoyan et al. 2019, doi:10.1038/s41586-019-1335-8).

    word2vec: a gensim Word2Vec file. It is a pickle: reading one from an untrusted source can run code.
    Raises ValueError if gensim cannot read it.
    """
    from gensim.models import KeyedVectors, Word2Vec  # takes half a second to import

    if word2vec is not None:
        _warn_of_pickle(word2vec)
        try:
            return Word2Vec.load(str(word2vec)).wv
        except Exception as error:
            raise ValueError(f"{word2vec}: gensim cannot read it as a Word2Vec model with its side files ({error})") from error
    rows = _packaged(EMBEDDINGS["mat2vec"])
    vectors = KeyedVectors(vector_size=len(next(iter(rows.values()))))
    vectors.add_vectors(list(rows), np.array(list(rows.values()), dtype=np.float32))
    log.info("mat2vec: the table of %d elements in the package ElementEmbeddings", len(rows))
    return vectors


@lru_cache
def _warn_of_pickle(word2vec: Path) -> None:
    """Warn once, in the process that the user started, of the file that will be unpickled."""
    digest = hashlib.sha256(word2vec.read_bytes()).hexdigest()
    level = logging.WARNING if current_process().name == "MainProcess" else logging.DEBUG
    log.log(level, "mat2vec: unpickling the Word2Vec file %s, sha256 %s; use only files that you trust", word2vec, digest)


def _table(name: str, word2vec: Path | None) -> NDArray[np.float64]:
    """Return one table, (N_ELEMENTS, n_features)."""
    if name == "one_hot":
        return np.eye(N_ELEMENTS) * np.sqrt(N_ELEMENTS)
    if name == "mat2vec":
        vectors = mat2vec(word2vec)
        table = _by_atomic_number({s: vectors[s] for s in SYMBOLS if s in vectors}, name)
    elif name in EMBEDDINGS or name in PROPERTIES:
        table = _by_atomic_number(_packaged((EMBEDDINGS | PROPERTIES)[name]), name)
    else:
        raise ValueError(f"elements: unknown table {name!r}; there are {', '.join(ELEMENT_TABLES)}")
    if name in PROPERTIES:
        return (table - table[1:].mean(axis=0)) / table[1:].std(axis=0)
    return table * (np.sqrt(table.shape[1]) / np.linalg.norm(table, axis=1, keepdims=True))


def _by_atomic_number(rows: Mapping[str, NDArray], name: str) -> NDArray[np.float64]:
    present = {SYMBOLS[symbol]: vector for symbol, vector in rows.items() if symbol in SYMBOLS}
    if not present:
        raise ValueError(f"{name}: contains no vector of an element")
    neutral = np.mean(list(present.values()), axis=0)
    absent = [symbol for symbol, z in SYMBOLS.items() if z not in present]
    if absent:
        log.info("%s: no vector for %s: they get the mean of the others", name, " ".join(absent))
    return np.array([present.get(z, neutral) for z in range(N_ELEMENTS)], dtype=np.float64)


def _packaged(file: str) -> dict[str, NDArray]:
    """Return a table of ElementEmbeddings, symbol -> vector, without importing that package, which takes many seconds."""
    spec = find_spec("elementembeddings")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("ElementEmbeddings is not installed: pip install -r requirements.txt")
    path = Path(spec.origin).parent / "data" / "element_representations" / file
    if path.suffix == ".json":
        return {symbol: np.array(vector, dtype=np.float64) for symbol, vector in json.loads(path.read_text()).items()}
    with path.open(newline="") as lines:
        _, *rows = csv.reader(lines)
    return {symbol: np.array(values, dtype=np.float64) for symbol, *values in rows}


def word2vec_key(word2vec: Path | None) -> str:
    """Return what identifies the vectors of mat2vec: the hash of a user's file and its side files, or `packaged`."""
    return file_key(word2vec) if word2vec else "packaged"
