"""Laws of src/features."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gensim.models import KeyedVectors, Word2Vec

from src.config import ElementConfig
from src.data.crystal import N_ELEMENTS, Crystal
from src.data.table import Crystals
from src.features import elements
from src.features.elements import ELEMENT_TABLES, element_vectors, mat2vec, word2vec_key
from src.features.groups import FORMULA_GROUPS, cached_features


@pytest.mark.parametrize("table", ELEMENT_TABLES)
def test_every_table_has_a_finite_vector_of_unit_scale_for_every_element(table: str) -> None:
    vectors = element_vectors(ElementConfig((table,)))
    assert len(vectors) == N_ELEMENTS and np.isfinite(vectors).all()
    assert 0.8 < np.sqrt((vectors[1:84] ** 2).mean()) < 1.3


def test_mat2vec_is_gensim_vectors_and_knows_chemistry() -> None:
    vectors = mat2vec()
    assert isinstance(vectors, KeyedVectors)
    assert vectors.similarity("Na", "K") > vectors.similarity("Na", "F")


def test_tables_are_concatenated_in_order() -> None:
    both = element_vectors(ElementConfig(("mat2vec", "magpie")))
    np.testing.assert_array_equal(both[:, :200], element_vectors(ElementConfig(("mat2vec",))))
    np.testing.assert_array_equal(both[:, 200:], element_vectors(ElementConfig(("magpie",))))


def word2vec_file(folder: Path, seed: int) -> Path:
    """A gensim Word2Vec file whose vectors are in a side file of their own, as gensim writes those of a large model."""
    corpus = [["Fe", "oxide", "is", "rust"], ["Na", "Cl", "is", "salt"], ["Fe", "Cl", "melts"]] * 20
    model = Word2Vec(corpus, vector_size=24, min_count=1, seed=seed, workers=1, epochs=2)
    path = folder / "pretrained_embeddings"
    model.save(str(path), sep_limit=0)
    return path


def test_changed_side_files_of_the_users_vectors_change_the_cached_features_and_the_key_of_runs(tmp_path: Path) -> None:
    path = word2vec_file(tmp_path, seed=1)
    (side_file,) = tmp_path.glob("pretrained_embeddings*vectors.npy")
    iron = Crystals.from_list([Crystal(np.eye(3) * 2.87, np.zeros((1, 3)), np.array([26]))])
    before, key = cached_features(iron, "key", ("mat2vec",), tmp_path / "cache", word2vec=path), word2vec_key(path)
    (tmp_path / "other").mkdir()
    other = word2vec_file(tmp_path / "other", seed=2)
    side_file.write_bytes((other.parent / side_file.name).read_bytes())
    element_vectors.cache_clear()  # as in the next process
    after = cached_features(iron, "key", ("mat2vec",), tmp_path / "cache", word2vec=path)
    assert word2vec_key(path) != key
    assert not np.allclose(after, before)


def test_a_users_word2vec_file_takes_precedence_and_lacking_elements_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = [["Fe", "oxide", "is", "rust"], ["Na", "Cl", "is", "salt"], ["Fe", "Cl", "melts"]] * 20
    model = Word2Vec(corpus, vector_size=24, min_count=1, seed=1, workers=1, epochs=2)
    path = tmp_path / "pretrained_embeddings"
    model.save(str(path))
    with caplog.at_level(logging.INFO):
        vectors = element_vectors(ElementConfig(("mat2vec",)), path)
    assert vectors.shape == (N_ELEMENTS, 24)
    neutral = np.mean([model.wv[symbol] for symbol in ("Fe", "Na", "Cl")], axis=0)
    for z, vector in ((26, model.wv["Fe"]), (1, neutral), (2, neutral)):
        np.testing.assert_allclose(vectors[z], vector / np.linalg.norm(vector) * np.sqrt(24), rtol=1e-4, atol=1e-6)
    assert "sha256" in caplog.text and "no vector for H He" in caplog.text


def test_a_file_that_is_no_word2vec_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pretrained_embeddings"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="gensim cannot read it"):
        mat2vec(path)


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown table 'alchemy'"):
        element_vectors(ElementConfig(("alchemy",)))


def test_composition_features_depend_on_fractions_alone() -> None:
    counts = np.zeros((3, N_ELEMENTS), dtype=np.int64)
    counts[0, [26, 8]] = 2, 3
    counts[1, [26, 8]] = 4, 6
    counts[2, [10]] = 1  # neon: no electronegativity
    features = pd.concat([compute(counts, 1, None) for compute in FORMULA_GROUPS.values()], axis=1)
    assert np.isfinite(features.to_numpy()).all()
    np.testing.assert_allclose(features.iloc[0], features.iloc[1], rtol=1e-9)
    assert features["x_Fe"][0] == pytest.approx(0.4)
    assert features["MagpieData mean Number"][0] == pytest.approx(0.4 * 26 + 0.6 * 8)
    expected = 0.4 * elements.element_vectors(ElementConfig())[26, 7] + 0.6 * elements.element_vectors(ElementConfig())[8, 7]
    assert features["mat2vec_mean_7"][0] == pytest.approx(expected)
