"""Runs side by side in processes of one thread each: for networks too wide to gain from a stack on a CPU."""

import contextlib
import multiprocessing
import os
import signal
import statistics
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from threading import Barrier
from typing import Any

import torch

from psilon_bench.config.schema import Config
from psilon_bench.config.sections import HardwareSection
from psilon_bench.machine import garbage
from psilon_bench.machine.device import set_up
from psilon_bench.machine.signals import Stopped
from psilon_bench.records.record import Run
from psilon_bench.sweep.following import Watch
from psilon_bench.sweep.retries import train_quietly
from psilon_bench.sweep.stacks import step_ms

LOOK_EVERY_S = 1.0
START_S = 120.0  # within which all processes have imported torch


class Processes:
    """A pool of processes that starts when first used; the cores that torch would use are shared out among them."""

    def __init__(self, hardware: HardwareSection, runs: int) -> None:
        self.cores = hardware.threads or torch.get_num_threads()
        self.asked_for = hardware.workers is not None
        self.workers = max(1, min(hardware.workers or self.cores, runs))
        self.pool: ProcessPoolExecutor | None = None

    @property
    def threads(self) -> int:
        """Of each process."""
        return max(1, self.cores // self.workers)

    def limit(self, workers: int) -> None:
        """No more than these, unless hardware.workers says how many. Before the pool starts."""
        assert self.pool is None
        if not self.asked_for:
            self.workers = min(self.workers, workers)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self.ask_to_stop()
        self.close()

    def ask_to_stop(self) -> None:
        """Each process writes the checkpoint of its run and takes no other; `close` waits for that."""
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGINT)

    def close(self) -> None:
        """Wait until what is under way has ended, and end the processes."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool = None

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Call it in a process. No more than there are processes at a time, so that none is kept in a queue."""
        if self.pool is None:
            context = multiprocessing.get_context("spawn")
            begin = (self.threads, context.Barrier(self.workers))
            self.pool = ProcessPoolExecutor(self.workers, context, begin_work, begin)
        with signals_wait():
            future = self.pool.submit(function, *args)
            # The pool watches the processes it had at its last call: one that this call has started is watched from the
            # next on, and until then nobody would see it killed.
            with contextlib.suppress(BrokenProcessPool):
                self.pool.submit(int)
            return future

    def trial(self, config: Config) -> float:
        """Milliseconds of a step per network while all processes are at work on networks like this."""
        own = with_threads(config, self.threads)
        futures = [self.submit(trial_step_ms, own) for _ in range(self.workers)]
        return statistics.mean(future.result() for future in futures) / self.workers

    def train(self, configs: Sequence[Config], retries: int, watch: Watch) -> str | None:
        """Train them all, followed by `watch`. What went wrong beyond the runs' own failures, in one line.

        A process that is killed ends the pool: the others write their checkpoints, and a new pool goes on with their
        runs. The run of the one that was killed is tried again as often as `retries` says.
        """
        left, killed = deque(configs), Counter[str]()
        flying: dict[Future[dict[str, Run]], Config] = {}
        while left or flying:
            while left and len(flying) < self.workers:
                config = left.popleft()
                flying[self.submit(train_alone, with_threads(config, self.threads))] = config
            done, _ = wait(flying, LOOK_EVERY_S, FIRST_COMPLETED)
            broken = any(is_broken(future) for future in done)
            if broken:
                self.close()
                done = set(flying)
            watch.look()
            lost = [config for future, config in flying.items() if future in done and is_broken(future)]
            for future in done:
                if not is_broken(future):
                    watch.told(future.result())
                del flying[future]
            if broken and not any(watch.status(config) for config in lost):
                return "the processes ended before they began"
            for config in lost:
                if watch.status(config) == "killed":  # by the end of the pool, with a checkpoint
                    left.appendleft(config)
                elif killed[config.identity.key] < retries:
                    killed[config.identity.key] += 1
                    left.append(config)
        return None


def is_broken(future: "Future[Any]") -> bool:
    """Whether it was lost with the pool."""
    return future.done() and isinstance(future.exception(), BrokenProcessPool)


def with_threads(config: Config, threads: int) -> Config:
    """So that the runner sets them, and the record tells."""
    return config.model_copy(update={"hardware": config.hardware.model_copy(update={"threads": threads})})


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Within, Ctrl-C waits: a process that is started here would die of it before it can say what to do about it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """One process of the pool, as it sees itself."""

    def __init__(self, everyone: Barrier) -> None:
        self.everyone, self.busy, self.stopped = everyone, False, False

    def asked_to_stop(self, number: int, frame: Any) -> None:
        """Handler of SIGINT outside of training, where interrupt.kept_until_safe has its own."""
        self.stopped = True
        if self.busy:
            raise Stopped(number)

    def train(self, config: Config) -> dict[str, Run]:
        """Train one run. Stopped by SIGINT the process stays, by SIGTERM it ends, both with the checkpoint written."""
        self.busy = True
        garbage.release()
        try:
            return {} if self.stopped else train_quietly([config])
        except Stopped as stop:
            self.stopped = True
            if stop.exit_code - 128 != signal.SIGINT:
                signal.raise_signal(stop.exit_code - 128)
            return {}
        finally:
            self.busy = False


this: Worker


def begin_work(threads: int, everyone: Barrier) -> None:
    """First of all in each process. It has a session of its own: Ctrl-C is for the parent, which then asks."""
    global this
    garbage.hold()
    this = Worker(everyone)
    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGINT, this.asked_to_stop)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    torch.set_num_threads(threads)
    set_up()
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """A parent that vanishes is as good as a SIGTERM."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def train_alone(config: Config) -> dict[str, Run]:
    """In a process of the pool."""
    return this.train(config)


def trial_step_ms(config: Config) -> float:
    """In all processes of the pool at once."""
    return step_ms([config], ready=lambda: waited(this.everyone))


def waited(everyone: Barrier) -> None:
    """Until all are there."""
    everyone.wait(START_S)
