"""The learning rate of a network's training, step by step."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from src.config import TrainingConfig

SWA_LR = 0.5  # learning rate at which weights are averaged equally, in units of the peak


def make_schedule(optimizer: Optimizer, config: TrainingConfig, n_steps: int) -> LRScheduler:
    """Return the learning-rate schedule, in steps: linear warm-up, then the cosines of the snapshots, each to zero.

    With `swa_fraction` the cosine ends at `SWA_LR` of the peak, and the last steps keep this rate.
    """
    n_cycle, n_constant = n_steps // config.n_snapshots, n_swa_steps(config, n_steps)
    n_warmup = max(1, round(config.warmup_fraction * n_cycle))
    lowest = SWA_LR * config.lr if n_constant else 0.0
    stages: list[LRScheduler] = [LinearLR(optimizer, start_factor=1 / (n_warmup + 1), total_iters=n_warmup)]
    stages.append(CosineAnnealingLR(optimizer, T_max=max(1, n_cycle - n_constant - n_warmup), eta_min=lowest))
    stages += [CosineAnnealingLR(optimizer, T_max=n_cycle) for _ in range(1, config.n_snapshots)]
    ends = [n_warmup, *(n_cycle * i for i in range(1, config.n_snapshots))]
    if n_constant:
        stages.append(ConstantLR(optimizer, factor=SWA_LR, total_iters=n_constant + 1))
        ends.append(n_steps - n_constant)
    return SequentialLR(optimizer, stages, milestones=ends)


def n_swa_steps(config: TrainingConfig, n_steps: int) -> int:
    """Return how many of the steps, the last ones, have a constant learning rate and equal parts in the average."""
    return round(config.swa_fraction * n_steps)
