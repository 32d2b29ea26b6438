"""Our NequIP is NequIP: with the weights of an official model it gives the same energies, on full and on reduced graphs.

make faithful
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from official import ENERGY, build_official, copy_weights, official_batch, our_network  # noqa: E402

from src.config import GraphConfig, NequipConfig  # noqa: E402
from src.data.crystal import Crystal  # noqa: E402
from src.data.load import load_task_data  # noqa: E402
from src.graphs.batch import batch_from_graphs  # noqa: E402
from src.graphs.graph import build_graph  # noqa: E402
from src.paths import DEFAULT_TASK, OUTPUTS  # noqa: E402

TOLERANCE = 1e-4  # relative
N_CRYSTALS = 5


def largest_difference(crystals: list[Crystal], l_max: int, symmetry: bool) -> float:
    """Return the largest relative difference of the total energies."""
    config = NequipConfig(n_channels=16, n_element_attributes=16, radial_hidden=(32, 32), head_hidden=(16,))
    graph = GraphConfig(r_max=5.0, l_max=l_max)
    official = build_official(config, graph, 40.0, "eager", "float64")
    ours = our_network(config, graph, 40.0).double()
    copy_weights(official, ours)
    theirs = official(official_batch(crystals, graph.r_max))[ENERGY].flatten()
    per_atom = ours(batch_from_graphs([build_graph(crystal, graph, symmetry) for crystal in crystals]))
    got = per_atom * torch.tensor([crystal.n_atoms for crystal in crystals])
    return float(((got - theirs) / theirs).abs().max())


def main() -> None:
    """Compare the energies for each l_max, on full and on reduced graphs."""
    data = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=1)
    rows = np.random.default_rng(0).choice(len(data.train.crystals), N_CRYSTALS, replace=False)
    crystals = [data.train.crystals[int(i)] for i in rows]
    failed = False
    for l_max in (1, 2, 3):
        for symmetry in (False, True):
            difference = largest_difference(crystals, l_max, symmetry)
            failed |= difference > TOLERANCE
            print(f"l_max {l_max}, {'reduced' if symmetry else 'full'} graph: largest relative difference {difference:.1e}")
    sys.exit("DIFFERENT from the official nequip" if failed else 0)


if __name__ == "__main__":
    main()
