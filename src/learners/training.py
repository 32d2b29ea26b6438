"""The one training loop of networks: loss, schedule, averaged weights, checkpoints."""

import copy
import csv
import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lion_pytorch import Lion
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from src.config import TrainingConfig
from src.graphs.batch import GraphBatch
from src.learners.evaluation import MakeBatch
from src.learners.learner import DivergedError, loading
from src.models.members import count_members
from src.storage.files import to_bytes, write_atomic
from src.storage.names import CHECKPOINT, HISTORY

HISTORY_COLUMNS = ("epoch", "lr", "train_loss", "valid_mae")
STATEFUL = ("model", "average", "optimizer", "schedule")  # attributes of a training that a checkpoint contains
WARMUP = 0.05  # share of all steps in which the learning rate rises
CLIP_NORM = 10.0  # largest norm of a gradient
HUBER_KNEE = 0.1  # in units of the target's scale
EXPLODED = 1e4  # loss, in the same units: an untrained network has about 1
N_UNREAD = 32  # steps whose losses are looked at together: a GPU has to finish them all for that
Loss = Callable[[Any, Any, Tensor], Tensor]  # network, batch, target -> loss, of several members (n_members,)
Watch = Callable[[nn.Module], float]  # averaged network -> error of the watched rows


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser that the config names."""
    if config.optimizer == "lion":
        return Lion(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def make_schedule(optimizer: torch.optim.Optimizer, n_steps: int) -> LRScheduler:
    """Return the learning-rate schedule, in steps: linear warm-up, then a cosine to zero."""
    n_warmup = max(1, round(WARMUP * n_steps))
    warmup = LinearLR(optimizer, start_factor=1 / (n_warmup + 1), total_iters=n_warmup)
    cosine = CosineAnnealingLR(optimizer, T_max=max(1, n_steps - n_warmup), eta_min=0.0)
    return SequentialLR(optimizer, [warmup, cosine], milestones=[n_warmup])


def energy_loss(config: TrainingConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of energies that the config names; (n_members,) for several members, (n_members, n_crystals)."""
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]]
    losses = {"l1": nn.L1Loss(), "huber": nn.HuberLoss(delta=HUBER_KNEE), "bce": cross_entropy}
    loss = losses[config.loss]
    of_members = torch.vmap(loss, in_dims=(0, None))
    return lambda energy, target: (loss if energy.dim() == 1 else of_members)(energy, target)


def cross_entropy(log_odds: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy; `class_of` in src/data/target.py explains the target. log_odds: (n_crystals,)."""
    classes = (target > 0).to(target.dtype)
    return nn.functional.binary_cross_entropy_with_logits(log_odds + torch.logit(classes - target), classes)


class FlatParameters(nn.Module):
    """One parameter that holds all parameters of a network, which become views of it, as do their gradients.

    For several members its shape is (n_members, n_parameters). Optimisers that treat each number on its own (Lion, AdamW) act
    on it as on the single parameters. Gradients must be set to zero in place, not to None.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        n = count_members(network)
        own_dims = 0 if n == 1 else 1  # a member's parameters follow the dimension of members
        if n > 1:  # views of rows are not contiguous, for which torch has this warning; it also says that it is no error
            warnings.filterwarnings("ignore", "grad and param do not obey the gradient layout contract")
        self.values = nn.Parameter(torch.cat([p.detach().flatten(own_dims) for p in network.parameters()], dim=-1))
        self.values.grad = torch.zeros_like(self.values)
        self.bind(network)

    def bind(self, network: nn.Module) -> None:
        """Make the parameters of a network of the same form views of these values."""
        start, n = 0, count_members(network)
        for p in network.parameters():
            place = slice(start, start + p.numel() // n)
            p.data = self.values.data[..., place].view_as(p)
            p.grad = None if self.values.grad is None else self.values.grad[..., place].view_as(p)
            start = place.stop

    def clip(self, largest: float) -> Tensor:
        """Scale the gradient of each member to a norm of at most `largest`; return the norms before, (n_members,)."""
        grad = cast(Tensor, self.values.grad)  # there is one from the beginning
        norm = torch.linalg.vector_norm(grad, dim=-1, keepdim=True)
        grad.mul_((largest / (norm + 1e-6)).clamp(max=1))  # as torch.nn.utils.clip_grad_norm_ does
        return norm.view(-1)


class Training:
    """A network, its averaged copy, and all state that a checkpoint contains.

    loss: a mean over crystals, by default that of the energies.
    The parameters of both networks are views of one buffer each. On a GPU, gradients of the default loss are CUDA graphs.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, seed: int, n_train: int, loss: Loss | None = None) -> None:
        self.model, self.config, self.seed, self.n_train = model, config, seed, n_train
        self.n_batches = math.ceil(n_train / config.batch_size)
        self.averaged, self.parameters = copy.deepcopy(model), FlatParameters(model)
        self.average, self.move_average = copy.deepcopy(self.parameters), get_ema_multi_avg_fn(config.ema_decay)
        self.average.bind(self.averaged)
        self.optimizer = make_optimizer(self.parameters, config)
        self.schedule = make_schedule(self.optimizer, config.n_epochs * self.n_batches)
        self.history: list[list[float]] = []
        of_energies = energy_loss(config)
        self.loss = loss or (lambda network, batch, target: of_energies(network(batch), target))
        self.captured: Callable[[GraphBatch, Tensor], Tensor] | None = None  # on a GPU
        if loss is None and self.parameters.values.device.type == "cuda":
            from src.learners.captured import CapturedGradient

            self.captured = CapturedGradient(self._gradient_of_padded, cast(Tensor, self.parameters.values.grad))

    def run(self, make_batch: MakeBatch, target: Tensor, folder: Path, watch: Watch) -> None:
        """Train to the last epoch, from the checkpoint in the folder if there is one.

        make_batch: numbers of training rows -> batch, on any device.
        target: (n_train,), on a CPU.
        watch: called after every epoch, for the history.
        """
        checkpoint = folder / CHECKPOINT
        if checkpoint.is_file():
            self.resume(checkpoint)
            self.write_history(folder)  # the process may have ended between the two writes
        for epoch in range(len(self.history), self.config.n_epochs):
            lr = float(self.schedule.get_last_lr()[0])
            loss = self.train_epoch(epoch, make_batch, target)
            self.history.append([epoch + 1, lr, loss, watch(self.averaged)])
            write_atomic(checkpoint, to_bytes(lambda file: torch.save(self.state(), file)))
            self.write_history(folder)
        self.captured = None  # it refers to this training, whose memory would stay

    def epoch_order(self, epoch: int) -> Iterator[NDArray[np.integer]]:
        """Return the batches of an epoch as numbers of training rows; they depend on seed and epoch only."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_train)
        return (order[i : i + self.config.batch_size] for i in range(0, self.n_train, self.config.batch_size))

    def train_epoch(self, epoch: int, make_batch: MakeBatch, target: Tensor) -> float:
        """Train one epoch and return the mean loss over its rows, and over members.

        Raises DivergedError if the loss explodes or the gradient is not finite.
        """
        self.model.train()
        total = 0.0
        steps: list[tuple[NDArray[np.integer], Tensor, Tensor]] = []  # rows, loss, norm of the gradient
        for i, rows in enumerate(self.epoch_order(epoch), 1):
            self.optimizer.zero_grad(set_to_none=False)
            loss = self._add_gradient(rows, make_batch, target)
            steps.append((rows, loss, self.parameters.clip(CLIP_NORM).max()))
            self.optimizer.step()
            self.schedule.step()
            self._update_average()
            if len(steps) == N_UNREAD or i == self.n_batches:
                for loss_sum in read_losses(steps, epoch):
                    total += loss_sum
                steps.clear()
        return total / self.n_train

    def _update_average(self) -> None:
        """Move the averaged weights towards the current ones; the first are the average."""
        average, values = self.average.values.detach(), self.parameters.values.detach()
        if self.schedule.last_epoch == 1:
            average.copy_(values)
        else:
            self.move_average([average], [values], 0)

    def _add_gradient(self, rows: NDArray[np.integer], make_batch: MakeBatch, target: Tensor) -> Tensor:
        """Add the gradient of a batch and return its loss, (n_members,) or ()."""
        batch, wanted = make_batch(rows), target[torch.from_numpy(rows)]
        if self.captured:
            return self.captured(batch, wanted)
        device = self.parameters.values.device
        return self._gradient(self.model, batch.to(device), wanted.to(device))

    def _gradient(self, network: Callable[[GraphBatch], Tensor], batch: GraphBatch, target: Tensor) -> Tensor:
        """Add the gradient of the loss of a batch on the device and return the loss."""
        loss = self.loss(network, batch, target)
        loss.sum().backward()
        return loss.detach().clone()

    def _gradient_of_padded(self, batch: GraphBatch, target: Tensor) -> Tensor:
        """Add the gradient of the loss of all crystals of a batch but the last, and return the loss."""
        return self._gradient(lambda padded: self.model(padded)[..., :-1], batch, target)

    def write_history(self, folder: Path) -> None:
        """Write one line for each epoch so far."""
        lines = io.StringIO()
        csv.writer(lines).writerows([HISTORY_COLUMNS, *self.history])
        write_atomic(folder / HISTORY, lines.getvalue().encode())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint contains."""
        own = {name: getattr(self, name).state_dict() for name in STATEFUL}
        return {**own, "history": self.history, "random": torch.get_rng_state()}

    def resume(self, checkpoint: Path) -> None:
        """Load the state of a checkpoint. Raises ValueError if it is damaged or of another network."""
        with loading(checkpoint, "remove it, and the stage starts over"):
            state = torch.load(checkpoint, weights_only=True, map_location="cpu")
            for name in STATEFUL:
                getattr(self, name).load_state_dict(state[name])
            self.history = state["history"]
            torch.set_rng_state(state["random"])


def read_losses(steps: Sequence[tuple[NDArray[np.integer], Tensor, Tensor]], epoch: int) -> Iterator[float]:
    """Yield the loss of each step times its number of rows. steps: rows, loss of each member, norm of the gradient.

    Raises DivergedError if a loss explodes or a gradient is not finite.
    """
    every_row, losses, norms = zip(*steps, strict=True)
    for rows, loss, norm in zip(every_row, torch.stack(losses).cpu(), torch.stack(norms).cpu(), strict=True):
        if not (loss < EXPLODED).all():
            raise DivergedError("loss", loss.max().item(), epoch + 1, rows.tolist())
        if not torch.isfinite(norm):
            raise DivergedError("norm of the gradient", norm.item(), epoch + 1, rows.tolist())
        yield loss.mean().item() * len(rows)
