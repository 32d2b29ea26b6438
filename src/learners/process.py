"""A Gaussian process on tables of features: it trains in seconds, and is strong on tables of a few hundred rows."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits

from src.config import GaussianProcessConfig
from src.learners.learner import Values, Watched, check_sha256, fitted, read_encoder, write_learner
from src.learners.tabular import TableInputs, TableLearner, Tables, predicted_in_parts, write_history
from src.storage.files import npz_bytes, read_npz
from src.storage.names import HISTORY

PROCESS_FILE = "process.npz"
PROCESS_ARRAYS = ("x", "weights", "mean", "theta", "center", "factor", "kept", "sizes")
CLIPPED_AT = 6.0  # standard deviations, at which features are clipped
LENGTHS = (0.1, 100.0)  # bounds, for features of unit variance
NOISE = 0.1  # of the variance, at the start
JITTER = 1e-8  # added to the diagonal, as a share of the variance
LEAST_SPREAD = 1e-9  # of a column that varies, as a share of its size


class GroupedMatern(kernels.StationaryKernelMixin, kernels.NormalizedKernelMixin, kernels.Kernel):
    """Matern kernel of smoothness 3/2 (Rasmussen, Williams, MIT Press 2006, eq. 4.17), with a length for each group of columns.

    The squared distance is the sum over groups of |x_g - y_g|^2 / length^2.
    length_scale: (n_groups,). sizes: columns of each group, in their order.
    """

    def __init__(self, length_scale: Any, sizes: tuple[int, ...]) -> None:
        self.length_scale, self.sizes = length_scale, sizes

    @property
    def hyperparameter_length_scale(self) -> kernels.Hyperparameter:
        """The lengths, whose logarithms scikit-learn varies."""
        return kernels.Hyperparameter("length_scale", "numeric", LENGTHS, len(self.sizes))

    def __call__(self, x: Values, y: Values | None = None, eval_gradient: bool = False) -> Any:
        """Return the kernel, (n_x, n_y), and with eval_gradient its derivative by the logarithms of the lengths."""
        other, ends = x if y is None else y, np.cumsum(self.sizes)[:-1]
        lengths = np.atleast_1d(self.length_scale)  # scikit-learn makes a single length a number
        squared, by_group = np.zeros((len(x), len(other))), []
        for a, b, length in zip(np.split(x, ends, axis=1), np.split(other, ends, axis=1), lengths, strict=True):
            of_group = euclidean_distances(a, a if y is None else b, squared=True) / length**2
            squared += of_group
            if eval_gradient:
                by_group.append(of_group)
        root = np.sqrt(3 * squared)
        decay = np.exp(-root)
        value = (1 + root) * decay
        return (value, np.stack([3 * one * decay for one in by_group], axis=-1)) if eval_gradient else value


class Scaler(NamedTuple):
    """Scaling of features, fitted to training rows. center, factor: (n_kept,); a missing feature becomes its center.

    kept: (n_features,), whether a feature varies. sizes: of the groups, in columns that vary.
    """

    center: Values
    factor: Values
    kept: NDArray[np.bool_]
    sizes: tuple[int, ...]

    @classmethod
    def fit(cls, tables: Tables) -> "Scaler":
        """Return the scaler of training rows. tables: group -> (n_rows, n_features).

        Every group has a mean square of 1 per row, so small groups weigh as much as large ones.
        """
        x = np.concatenate(list(tables.values()), axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            center, sd = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
        kept = sd > LEAST_SPREAD * np.maximum(1, np.abs(center))  # false where all are missing
        groups = np.split(kept, np.cumsum([table.shape[1] for table in tables.values()])[:-1])
        sizes = [int(own.sum()) for own in groups if own.any()]
        width = np.repeat(sizes, sizes)
        return cls(center[kept], 1 / (sd[kept] * np.sqrt(width)), kept, tuple(sizes))

    def __call__(self, tables: Tables) -> Values:
        """Return the scaled features, (n_rows, n_kept)."""
        x = np.concatenate(list(tables.values()), axis=1, dtype=np.float64)[:, self.kept]
        limit = CLIPPED_AT / np.sqrt(np.repeat(self.sizes, self.sizes))
        return np.clip(np.nan_to_num((x - self.center) * self.factor), -limit, limit)


class GaussianProcessLearner(TableLearner[GaussianProcessConfig]):
    """A Gaussian process whose lengths and noise maximise the marginal likelihood of some of the training rows."""

    kernel: kernels.Kernel | None = None
    scaler: Scaler
    x: Values  # (n_rows, n_kept), scaled
    weights: Values  # (n_rows,)
    mean: float

    def histories(self) -> dict[str, int]:
        return {HISTORY: 1}

    def limit_threads(self) -> None:
        threadpool_limits(1)

    def fit(self, inputs: TableInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Fit lengths and noise to some rows, then the process to all; the history has one line."""
        c = self.config
        self.encoder = inputs.fit_encoder(c.features)
        tables = inputs.tables_of(c.features, self.encoder)
        self.scaler = Scaler.fit(tables)
        self.x, self.mean = self.scaler(tables), float(target.mean())
        y, sizes = target - self.mean, self.scaler.sizes
        some = np.random.default_rng(self.seed).permutation(len(y))[: c.n_fit]
        variance = float(y.var()) or 1.0
        kernel = kernels.ConstantKernel(variance, (1e-3 * variance, 1e3 * variance)) * GroupedMatern(np.ones(len(sizes)), sizes)
        noise = kernels.WhiteKernel(NOISE * variance, (1e-5 * variance, 10 * variance))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of a length at its bound: the group says nothing
            fitted_to_some = GaussianProcessRegressor(kernel + noise, alpha=JITTER * variance).fit(self.x[some], y[some])
        self.kernel = fitted_to_some.kernel_
        process = GaussianProcessRegressor(self.kernel, alpha=JITTER * variance, optimizer=None)
        self.weights = process.fit(self.x, y).alpha_
        write_history(self, folder, watched)

    def predict(self, inputs: TableInputs) -> Values:
        x = self.scaler(inputs.tables_of(self.config.features, self.encoder))
        return self.mean + predicted_in_parts(lambda rows: fitted(self.kernel)(rows, self.x) @ self.weights, x)

    def save(self, folder: Path) -> None:
        arrays = {"x": self.x, "weights": self.weights, "mean": self.mean, "theta": fitted(self.kernel).theta}
        content = npz_bytes(arrays | self.scaler._asdict())
        write_learner(folder, self.config, (PROCESS_FILE, content), self.encoder, seed=self.seed)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        self.encoder = read_encoder(folder, self.config.features, settings)
        check_sha256(folder / PROCESS_FILE, settings.get("sha256"))
        self.x, self.weights, mean, theta, center, factor, kept, groups = read_npz(folder / PROCESS_FILE, PROCESS_ARRAYS)
        sizes = tuple(groups.tolist())
        self.mean, self.scaler = float(mean), Scaler(center, factor, kept, sizes)
        start = kernels.ConstantKernel() * GroupedMatern(np.ones(len(sizes)), sizes) + kernels.WhiteKernel()
        self.kernel = start.clone_with_theta(theta)

    @property
    def n_parameters(self) -> int:
        """Number of weights, one for each training row, and of lengths and variances."""
        return len(self.weights) + len(fitted(self.kernel).theta)
