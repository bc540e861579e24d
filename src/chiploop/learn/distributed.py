"""One training in several processes, each with a share of every batch and a device of its own.

All calls of torch.distributed are here. Every process (a rank) holds the whole network. Per global batch it runs its
own samples; DistributedDataParallel adds up the gradients while the backward pass still goes on. Nothing here is
called unless several processes take part.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from chiploop import errors
from chiploop.errors import ChiploopError, TrainingError
from chiploop.learn.batch import Batch
from chiploop.learn.method import Method, StepResult
from chiploop.network.inject import inject
from chiploop.network.network import Network

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a step waits for the other ranks, whose devices may be tried again and again before they answer."""

LONG = timedelta(days=30)
"""How long ranks wait while the first one deploys and measures: longer than that lasts. One that dies is noticed."""

ASK_EVERY_S = 0.02
"""Pause between two looks at whether another rank has come."""

WIDTH = 8
"""Numbers in a message between ranks. All are equally long, so that a rank that failed can answer any of them."""


class _FailedTogetherError(Exception):
    """Carries what all ranks raise through whatever the ranks were in."""

    def __init__(self, error: ChiploopError) -> None:
        super().__init__(str(error))
        self.error = error


class RankLostError(TrainingError):
    """Another process of this training is gone, or did not answer in time."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """The processes that train together, seen from one of them; by default it is alone, and no call does anything.

    `local_size` of them are on this machine, of which this is number `local_rank`. Calls marked *together* must be
    made by all ranks in the same order; they raise RankLostError when a rank is gone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    _patient: Any = None
    _store: Store | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files, deploys, measures and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this rank's part of a batch, whose parts differ by one item at most; of fewer items than ranks, all.

        >>> [list(Ranks(rank, 3).share("abcdefgh")) for rank in range(3)]
        [['a', 'b'], ['c', 'd', 'e'], ['f', 'g', 'h']]
        >>> [list(Ranks(rank, 3).share("ab")) for rank in range(3)]
        [['a', 'b'], ['a', 'b'], ['a', 'b']]
        """
        n = len(items)
        if n < self.size:  # an empty part would leave a rank out of what must be done together
            return items
        return items[n * self.rank // self.size : n * (self.rank + 1) // self.size]

    def weights(self, n: int) -> tuple[float, float]:
        """Return, for a batch of n: the weight of this rank's mean in the batch's, and of each of its own samples.

            mean over the batch = sum over ranks of (own samples / all ranks' samples) * own mean

        >>> [Ranks(rank, 2).weights(5) for rank in range(2)], Ranks(1, 4).weights(2)
        ([(0.4, 1.0), (0.6, 1.0)], (0.25, 0.25))
        """
        total = n if n >= self.size else n * self.size
        return len(self.share(range(n))) / total, n / total

    def threads(self, n: int) -> int:
        """Return how many of a machine's n threads are this rank's."""
        return max(1, n // self.local_size)

    def agree(self, action: Callable[[], T], values: Callable[[T], Sequence[float]]) -> tuple[T, list[float]]:
        """Do something that may fail, together; return its result here and the sum of `values` over the ranks.

        If it raises a ChiploopError on any rank, all raise that error, with the number of the first rank that had it.
        """
        if self.size == 1:
            done = action()
            return done, list(values(done))
        try:
            done = action()
        except _FailedTogetherError as failed:
            raise failed.error from failed
        except RankLostError:  # there is nobody to tell
            raise
        except ChiploopError as error:
            raise self._failed_together(error) from error
        try:
            return done, self._sum(values(done))
        except _FailedTogetherError as failed:
            raise failed.error from failed

    def batch_mean(self, means: list[Tensor], n: int) -> list[Tensor]:
        """Return scalar means over this rank's n samples as those over all ranks' samples, together.

        Values are of all samples; gradients go to this rank's own, and are complete once `backward` has added them up.
        """
        if self.size == 1:
            return means
        (total,) = self._sum([n])
        sums = torch.stack([mean.detach().double() for mean in means]) * (n / total)
        self.add_up(sums)
        return [inject(mean, value) for mean, value in zip(means, sums.to(means[0].dtype), strict=True)]

    def wrap(self, stepper: Stepper) -> nn.Module:
        """Return what runs steps, together: with gradients that are added up over the ranks.

        All take the first rank's parameters. To be called anew every epoch: the order in which gradients are added up
        is settled after the first step, and training that resumes at an epoch must find it as it was.
        """
        if self.size == 1:
            return stepper
        gc.collect()  # the last epoch's wrapper, if its last batch was skipped, would still answer this one's gradients
        with _connected(self):
            return nn.parallel.DistributedDataParallel(stepper)

    def backward(self, loss: Tensor, n: int) -> None:
        """Go backward from this rank's mean loss on a batch of n, together; gradients are those of the batch's mean."""
        if self.size == 1:
            torch.autograd.backward(loss)
            return
        with _connected(self):  # gradients are averaged over ranks: hence the factor
            torch.autograd.backward(loss * (self.size * self.weights(n)[0]))

    def add_up(self, tensor: Tensor) -> None:
        """Put the sum over ranks in a tensor's place, together."""
        if self.size > 1:
            with _connected(self):
                dist.all_reduce(tensor)

    def share_network(self, network: Network) -> None:
        """Give every rank the first one's parameters, together."""
        if self.size > 1:
            with _connected(self), torch.no_grad():
                for parameter in network.parameters():
                    dist.broadcast(parameter, src=0)

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what the first rank makes, which may be anything that is plain data, together."""
        if self.size == 1:
            return make()
        box = [make() if self.is_first else None]
        with _connected(self):
            dist.broadcast_object_list(box, src=0)
        return cast(T, box[0])

    def gather(self, text: str) -> list[str]:
        """Return every rank's text in the order of ranks, together."""
        if self.size == 1:
            return [text]
        texts = [""] * self.size
        with _connected(self):
            dist.all_gather_object(texts, text)
        return texts

    def wait(self) -> None:
        """Wait, for days if need be, until all ranks are here, together."""
        if self.size > 1:
            with _connected(self):
                dist.barrier(group=self._patient)

    def one_then_others(self, make: Callable[[], T]) -> T:
        """Make something first on one rank of each machine, then on the others, which find its files; together."""
        if self.local_rank:
            self.wait()
        made = make()
        if not self.local_rank:
            self.wait()
        return made

    def speaks(self) -> bool:
        """Whether this is the first rank to ask: that one reports an error, the others end in silence."""
        return self._store is None or self._store.add("asked to speak", 1) == 1

    def _sum(self, values: Sequence[float], *, failed: bool = False) -> list[float]:
        """Return sums over ranks; raise what all ranks raise when one of them failed."""
        assert len(values) < WIDTH
        message = torch.zeros(WIDTH, dtype=torch.float64)
        message[: len(values) + 1] = torch.tensor([float(failed), *values], dtype=torch.float64)
        self.add_up(message)
        n_failed, *sums = message.tolist()
        if n_failed and not failed:
            raise _FailedTogetherError(self._failure(None))
        return sums[: len(values)]

    def _failed_together(self, error: ChiploopError) -> ChiploopError:
        """Tell the others of a failure here; return what all raise."""
        self._sum([], failed=True)
        return self._failure(error)

    def _failure(self, own: ChiploopError | None) -> ChiploopError:
        """Return the error of the first rank that had one."""
        plain = "" if own is None else json.dumps([type(own).__name__, str(own)])
        for rank, text in enumerate(self.gather(plain)):
            if text:
                kind, message = json.loads(text)
                found = getattr(errors, kind, TrainingError)
                return found(f"rank {rank}: {message}")
        raise AssertionError("unreachable: it is called when a rank failed")


ALONE = Ranks()
"""One process by itself."""


class Stepper(nn.Module):
    """A method's step as a module's forward pass, where DistributedDataParallel can see it."""

    def __init__(self, method: Method, network: Network) -> None:
        super().__init__()
        self.network = network
        self._method = method

    def forward(self, batch: Batch) -> StepResult:
        """Return what the method's step does."""
        return self._method.step(self.network, batch)


@contextmanager
def join() -> Iterator[Ranks]:
    """Meet the other processes that the environment speaks of, as torchrun sets it, and part in the end.

    Raises RankLostError when they do not come.
    """
    place = {key: int(os.environ.get(key, default)) for key, default in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))}
    rank = int(os.environ["RANK"])
    size = int(os.environ["WORLD_SIZE"])
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    with _connected(Ranks(rank, size)):
        store, *_ = next(iter(rendezvous("env://", rank, size, timeout=PATIENCE)))
        store = PrefixStore(_word_of_this_start(store, rank, size), store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        patient = dist.new_group(backend="gloo", timeout=LONG)
    yield Ranks(rank, size, place["LOCAL_RANK"], place["LOCAL_WORLD_SIZE"], patient, store)
    gc.collect()  # what a training that failed has left behind must not outlive the connections that it holds
    dist.destroy_process_group()


def _word_of_this_start(store: Store, rank: int, size: int) -> str:
    """Return a word that only those know who were started together.

    The store outlives processes that are started again, and remembers addresses at which nobody answers any more. Each
    process says a word of its own; the first one answers until all have heard the common one.
    """
    own = secrets.token_hex(16)
    if rank:
        store.set(f"here/{rank}", own)
        common = store.get(f"common/{own}").decode()
        store.set(f"heard/{common}/{rank}", own)
        return common
    deadline = time.monotonic() + PATIENCE.total_seconds()
    for other in range(1, size):
        while not store.check([f"heard/{own}/{other}"]):
            if time.monotonic() > deadline:
                raise RankLostError(f"rank {other} of {size} did not come within {PATIENCE}; start all of them anew")
            if store.check([f"here/{other}"]):  # perhaps still the word of an earlier start, so ask again
                store.set(f"common/{store.get(f'here/{other}').decode()}", own)
            time.sleep(ASK_EVERY_S)
    return own


@contextmanager
def _connected(ranks: Ranks) -> Iterator[None]:
    """Turn what torch raises about lost connections into an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        first = str(error).splitlines()[0].partition("This is typically")[0].strip()
        raise RankLostError(
            f"rank {ranks.rank} of {ranks.size}: another process of this training is gone or silent ({first}); "
            "finished epochs are kept, and the same command goes on from there"
        ) from error
