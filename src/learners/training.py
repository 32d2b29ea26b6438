"""The one training loop of networks: loss, schedule, averaged weights, checkpoints."""

import copy
import csv
import io
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lion_pytorch import Lion
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from src.config import TrainingConfig
from src.graphs.batch import GraphBatch
from src.learners.captured import CapturedGradient
from src.learners.evaluation import MakeBatch
from src.learners.flat import FlatParameters
from src.learners.learner import DivergedError
from src.learners.precision import autocast, products
from src.learners.schedule import make_schedule, n_swa_steps
from src.models.members import separate, together
from src.models.network import compile_network
from src.storage.files import to_bytes, write_atomic
from src.storage.names import CHECKPOINT, HISTORY

COLUMNS = ("epoch", "lr", "train_loss", "valid_mae")
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


def energy_loss(config: TrainingConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of energies that the config names; of those of several members, (n_members, n_crystals), (n_members,)."""
    loss = nn.L1Loss() if config.loss == "l1" else nn.HuberLoss(delta=HUBER_KNEE)
    of_members = torch.vmap(loss, in_dims=(0, None))
    return lambda energy, target: (loss if energy.dim() == 1 else of_members)(energy, target)


class Training:
    """A network, its averaged copy, and all state that a checkpoint contains.

    loss: a mean over crystals, by default that of the energies. n_edges: (n_train,), of the graph of each row, for max_edges.
    The parameters of both networks are views of one buffer each. On a GPU, gradients of the default loss are CUDA graphs, unless
    the network is compiled or batches are split by `max_edges`.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig,
        seed: int,
        n_train: int,
        loss: Loss | None = None,
        n_edges: NDArray[np.integer] | None = None,
    ) -> None:
        self.model, self.config, self.seed, self.n_train, self.n_edges = model, config, seed, n_train, n_edges
        self.n_batches = math.ceil(n_train / config.batch_size)
        self.averaged, self.parameters = copy.deepcopy(model), FlatParameters(model)
        self.average, self.move_average = copy.deepcopy(self.parameters), get_ema_multi_avg_fn(config.ema_decay)
        self.average.bind(self.averaged)
        if config.compile:  # after the copy, which predicts uncompiled
            compile_network(model)
        self.optimizer = make_optimizer(self.parameters, config)
        n_steps = config.n_epochs * self.n_batches
        self.schedule = make_schedule(self.optimizer, config, n_steps)
        self.swa_start = n_steps - n_swa_steps(config, n_steps)
        self.history: list[list[float]] = []
        self.snapshots: list[nn.Module] = []  # averaged networks at the end of each cosine
        of_energies = energy_loss(config)
        self.loss = loss or (lambda network, batch, target: of_energies(network(batch), target))
        self.captured: CapturedGradient | None = None
        plain = loss is None and not config.compile and config.max_edges is None
        if plain and self.parameters.values.device.type == "cuda":
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
            if (epoch + 1) % (self.config.n_epochs // self.config.n_snapshots) == 0:
                self.snapshots.append(copy.deepcopy(self.averaged))
            write_atomic(checkpoint, to_bytes(lambda file: torch.save(self.state(), file)))
            self.write_history(folder)
        self.captured = None  # it refers to this training, whose memory would stay

    @property
    def trained(self) -> nn.Module:
        """The networks that predict: those of all snapshots, as one model."""
        return together([network for snapshot in self.snapshots for network in separate(snapshot)])

    def epoch_order(self, epoch: int) -> Iterator[NDArray[np.integer]]:
        """Return the batches of an epoch as numbers of training rows; they depend on seed and epoch only."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_train)
        return (order[i : i + self.config.batch_size] for i in range(0, self.n_train, self.config.batch_size))

    def train_epoch(self, epoch: int, make_batch: MakeBatch, target: Tensor) -> float:
        """Train one epoch and return the mean loss over its rows, and over members.

        Raises DivergedError if the loss explodes or the gradient is not finite.
        """
        self.model.train()
        make_batch, total = self.strained(make_batch, epoch), 0.0
        steps: list[tuple[NDArray[np.integer], Tensor, Tensor]] = []  # rows, loss, norm of the gradient
        for i, rows in enumerate(self.epoch_order(epoch), 1):
            self.optimizer.zero_grad(set_to_none=False)
            parts = [self._add_gradient(part, len(part) / len(rows), make_batch, target) for part in self.parts(rows)]
            loss = torch.stack(parts).sum(dim=0)
            steps.append((rows, loss, self.parameters.clip(self.config.clip_norm).max()))
            self.optimizer.step()
            self.schedule.step()
            self._update_average()
            if len(steps) == N_UNREAD or i == self.n_batches:
                for loss_sum in read_losses(steps, epoch):
                    total += loss_sum
                steps.clear()
        return total / self.n_train

    def strained(self, make_batch: MakeBatch, epoch: int) -> MakeBatch:
        """Return what makes batches of crystals under the random strains of an epoch; they depend on seed and epoch only."""
        if not self.config.strain:
            return make_batch
        strain = np.random.default_rng([self.seed, epoch, 1]).normal(0, self.config.strain, self.n_train)
        return lambda rows: make_batch(rows).strained(torch.from_numpy(1 + strain[rows]))

    def _update_average(self) -> None:
        """Move the averaged weights towards the current ones, or let these join SWA's mean; the first are the average."""
        average, values = self.average.values.detach(), self.parameters.values.detach()
        if self.schedule.last_epoch == 1:
            average.copy_(values)
        elif (n_swa := self.schedule.last_epoch - self.swa_start) > 0:
            average.lerp_(values, 1 / n_swa)
        else:
            self.move_average([average], [values], 0)

    def parts(self, rows: NDArray[np.integer]) -> list[NDArray[np.integer]]:
        """Return a batch in consecutive parts of at most `max_edges` edges or of one crystal."""
        if self.config.max_edges is None or self.n_edges is None:
            return [rows]
        bounds, edges = [0], 0
        for i, n in enumerate(self.n_edges[rows].tolist()):
            if edges + n > self.config.max_edges and i > bounds[-1]:
                bounds.append(i)
                edges = 0
            edges += n
        return np.split(rows, bounds[1:])

    def _add_gradient(self, rows: NDArray[np.integer], share: float, make_batch: MakeBatch, target: Tensor) -> Tensor:
        """Add the gradient of a part of a batch; return what it adds to the loss, (n_members,) or ().

        share: of the part in the batch's crystals.
        """
        batch, wanted = make_batch(rows), target[torch.from_numpy(rows)]
        if self.captured:
            return self.captured(batch, wanted)
        device = self.parameters.values.device
        batch = batch if device.type == "cpu" else batch.to(device)
        return self._gradient(self.model, batch, wanted.to(device), share)

    def _gradient(self, network: Callable[[GraphBatch], Tensor], batch: GraphBatch, target: Tensor, weight: float) -> Tensor:
        """Add the gradient of the loss of a batch on the device, times a weight, and return that product."""
        with products(self.config.precision):
            with autocast(self.config.precision, target.device):
                loss = weight * self.loss(network, batch, target)
            loss.sum().backward()
        return loss.detach().clone()

    def _gradient_of_padded(self, batch: GraphBatch, target: Tensor) -> Tensor:
        """Add the gradient of the loss of all crystals of a batch but the last, and return the loss."""
        return self._gradient(lambda padded: self.model(padded)[..., :-1], batch, target, 1.0)

    def write_history(self, folder: Path) -> None:
        """Write one line for each epoch so far."""
        lines = io.StringIO()
        csv.writer(lines).writerows([COLUMNS, *self.history])
        write_atomic(folder / HISTORY, lines.getvalue().encode())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint contains."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "snapshots": [snapshot.state_dict() for snapshot in self.snapshots],
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "random": torch.get_rng_state(),
        }

    def resume(self, checkpoint: Path) -> None:
        """Load the state of a checkpoint. Raises ValueError if it is damaged or of another network."""
        try:
            self.load_state(torch.load(checkpoint, weights_only=True, map_location="cpu"))
        except Exception as error:  # a damaged file makes torch raise nearly anything
            text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            raise ValueError(f"{checkpoint} is damaged ({text}); remove it, and the stage starts over") from error

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        for name in ("model", "average", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.snapshots = [copy.deepcopy(self.averaged) for _ in state["snapshots"]]
        for snapshot, weights in zip(self.snapshots, state["snapshots"], strict=True):
            snapshot.load_state_dict(weights)
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


def seed_everything(seed: int) -> None:
    """Seed the random numbers of Python and torch."""
    random.seed(seed)
    torch.manual_seed(seed)
