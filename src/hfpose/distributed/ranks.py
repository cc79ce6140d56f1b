"""The processes of a run, and what they tell each other through the store of torch.distributed.

Nothing is sent between processes but small values through the store, which one of them (or the launcher) holds: counters
that hand out work, and signs of life. A process that dies is noticed by its silence and holds nobody up.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import torch

from hfpose.distributed.environment import whole_number, world_size
from hfpose.errors import HFPoseError, InputError

ValueT = TypeVar("ValueT")

_START_TIMEOUT = timedelta(minutes=10)  # for the slowest process to appear
_ANSWER_TIMEOUT = timedelta(minutes=1)  # for the store
_BEAT = 1.0  # seconds between signs of life
_POLL = 0.2  # seconds
_SILENCE = 60.0  # seconds, unless HFPOSE_RANK_TIMEOUT says otherwise


class LostContactError(HFPoseError):
    """The process that holds the store is gone."""


class Ranks:
    """This process among those of the run. They all make one before anything else, and wait for each other in it.

    Args:
        use_cpu: whether models are to run on the CPU though there are accelerators.

    Raises:
        InputError: if the environment does not say which of the processes this is.
    """

    def __init__(self, use_cpu: bool = False) -> None:
        from accelerate import PartialState
        from torch.distributed import PrefixStore, TCPStore

        use_cpu = use_cpu or not torch.accelerator.is_available()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the number of threads, which is left to the user
            # Gloo, also for GPUs: tensors are not exchanged.
            state = PartialState(cpu=use_cpu, backend="gloo", timeout=_START_TIMEOUT)
        if state.num_processes < 2:
            raise InputError(
                f"There are {world_size()} processes, but the environment does not say which one this is. Start them with "
                "`accelerate launch` or `torchrun`, or set RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT."
            )
        self.rank: int = state.process_index
        self.size: int = state.num_processes
        self.device = torch.device("cpu") if use_cpu else state.device
        address, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), whole_number("MASTER_PORT", 29500)
        store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=_ANSWER_TIMEOUT)
        self._store = PrefixStore(f"hfpose/{whole_number('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        self._contact_lost = False
        self._silence = float(os.environ.get("HFPOSE_RANK_TIMEOUT") or _SILENCE)
        self._heard: dict[int, tuple[int, float]] = {}  # last sign of life of others, and when it was noticed
        self._stop = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="hfpose-beat", daemon=True)
        self._beating.start()

    def claim(self, counter: str) -> int:
        """The next number of a counter, from 0; no two processes get the same."""
        return self.count(counter, 1) - 1

    def count(self, counter: str, amount: int = 0) -> int:
        """Add to a counter; returns its new value."""
        return self._ask(lambda: self._store.add(counter, amount))

    def tell(self, name: str, value: str = "") -> None:
        """Leave a value for the others."""
        self._ask(lambda: self._store.set(name, value))

    def is_told(self, name: str) -> bool:
        """Whether somebody has left a value of that name."""
        return self._ask(lambda: self._store.check([name]))

    def hear(self, name: str) -> str:
        """A value that somebody has left."""
        return self._ask(lambda: self._store.get(name)).decode()

    def wait_for_all(self, point: str, value: str = "") -> list[int]:
        """Say that this process has come to some point, and wait until all others that are alive have; returns the dead.

        What the others have said with it is told under `point/rank`.
        """
        self.tell(f"{point}/{self.rank}", value)
        waiting = set(range(self.size))
        while True:
            waiting = {rank for rank in waiting if not self.is_told(f"{point}/{rank}")}
            if all(self.is_lost(rank) for rank in waiting):
                return sorted(waiting)
            time.sleep(_POLL)

    def wait_for(self, name: str, rank: int) -> None:
        """Wait until a process has left a value.

        Raises:
            LostContactError: if it died before.
        """
        while not self.is_told(name):
            if self.is_lost(rank):
                raise LostContactError(
                    f"Process {rank} stopped, and the others cannot go on without it. Run the same command again, with "
                    "--resume if files have been written."
                )
            time.sleep(_POLL)

    def is_lost(self, rank: int) -> bool:
        """Whether another process has left in the middle or has been silent for long, as far as this one has listened."""
        if rank == self.rank:
            return False
        if self.is_told(f"left/{rank}"):
            return True
        beat, now = self.count(f"beat/{rank}"), time.monotonic()
        if rank not in self._heard or self._heard[rank][0] != beat:
            self._heard[rank] = beat, now
        return now - self._heard[rank][1] > self._silence

    def leave(self, finished: bool) -> None:
        """End this process's part; without `finished` the others take it for dead."""
        self._stop.set()
        self._beating.join()
        with suppress(LostContactError):
            self.tell(f"{'done' if finished else 'left'}/{self.rank}")

    def disconnect(self) -> None:
        """Close the connections, the last thing of all."""
        self._stop.set()
        self._beating.join()
        torch.distributed.destroy_process_group()

    def _beat(self) -> None:
        with suppress(LostContactError):
            while not self._stop.is_set():
                self.count(f"beat/{self.rank}", 1)
                self._stop.wait(_BEAT)

    def _ask(self, question: Callable[[], ValueT]) -> ValueT:
        # One failure is enough: torch writes a page to stderr at each.
        if not self._contact_lost:
            try:
                return question()
            except RuntimeError:
                self._contact_lost = True
        raise LostContactError(
            "The process of rank 0 (or the launcher) is gone, so nobody hands out work any more. What is finished is kept; "
            "run the same command again with --resume."
        )
