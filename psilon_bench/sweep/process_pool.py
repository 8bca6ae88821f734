"""Stacks and lone runs side by side in processes of one thread each: for more cores than a step keeps busy."""

import contextlib
import multiprocessing
import os
import signal
import statistics
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any

from psilon_bench.config.schema import Config
from psilon_bench.config.sections import HardwareSection
from psilon_bench.machine import garbage
from psilon_bench.machine.arithmetic import most_threads, set_threads, set_up
from psilon_bench.machine.process import end_with_parent, leave_terminal
from psilon_bench.machine.signals import Stopped, handle_interrupt, interrupt_blocked
from psilon_bench.records.checkpoint import unfinished
from psilon_bench.records.run_json import RunDict
from psilon_bench.sweep.attempt import Attempt
from psilon_bench.sweep.following import RecordFollower
from psilon_bench.sweep.retries import train_quietly
from psilon_bench.sweep.timing import step_ms

POLL_S = 1.0
START_S = 120.0  # within which all processes have imported torch
MOST_IN_VAIN = 4  # pools in a row that a killed process may end before any stack has ended


@dataclass
class StackQueue:
    """The stacks that are left to train; those whose process was killed, or that another sweep trains, come back."""

    left: deque[Sequence[Config]]
    retries: int
    kills: Counter[str] = field(default_factory=Counter)
    put_off: set[str] = field(default_factory=set)  # the first identities of what is waited for when it comes again

    def next_for(self, workers: int, at_work: int) -> Sequence[Config] | None:
        """Return the next stack, with so many at work; None where it has to wait, or none is left."""
        if not self.left or at_work >= (1 if self.kills[self.left[0][0].identity.key] else workers):
            return None
        return self.left.popleft()

    def has_to_wait(self, stack: Sequence[Config]) -> bool:
        """Return whether a stack waits for another sweep that trains runs of it; at first others come before it."""
        return stack[0].identity.key in self.put_off

    def put_off_rest(self, stack: Sequence[Config], ended: Collection[str]) -> None:
        """Take back, once, the runs of a stack that another sweep trains: all that have not ended here."""
        rest = [config for config in stack if config.identity.key not in ended]
        if rest and not self.has_to_wait(stack):
            self.put_off.add(rest[0].identity.key)
            self.left.append(rest)

    def put_back(self, stack: Sequence[Config], status: Callable[[Config], str | None]) -> None:
        """Take back the parts of a stack that was lost with the pool; status: of a run, None without a record.

        One that was stopped by the end of the pool, with a checkpoint, comes first. Another one comes last, and alone,
        as often as `retries` says; one without a record once at least, for it may have met the end of another.
        """
        for part in resumable_parts(stack):
            states = {status(config) for config in part}
            if states <= {"finished"}:
                continue
            first = part[0].identity.key
            if "killed" in states:
                self.left.appendleft(part)
            elif self.kills[first] < (self.retries if any(states) else max(self.retries, 1)):
                self.kills[first] += 1
                self.left.append(part)


def resumable_parts(stack: Sequence[Config]) -> list[list[Config]]:
    """Return the parts of a stack that have checkpoints, such as the halves of one that failed, then what is left."""
    rest = {config.identity.key: config for config in stack}
    found = [index.keys for index in unfinished(stack[0]) if not index.heats]
    return [[rest.pop(key) for key in keys] for keys in found if set(keys) <= rest.keys()] + [list(rest.values())]


class ProcessPool:
    """A pool of processes that starts when first used; the cores that torch would use are shared out among them."""

    def __init__(self, hardware: HardwareSection, runs: int) -> None:
        self.cores = hardware.threads if isinstance(hardware.threads, int) else most_threads()
        self.asked_for = hardware.workers is not None
        self.workers = max(1, min(hardware.workers or self.cores, runs))
        self.executor: ProcessPoolExecutor | None = None
        self.has_begun = multiprocessing.RawValue("b", False)  # set by the first process that is ready to work

    @property
    def threads(self) -> int:
        """Return the number of threads of each process."""
        return max(1, self.cores // self.workers)

    def limit(self, workers: int) -> None:
        """Take no more workers than these, unless hardware.workers says how many. Only before the pool starts."""
        assert self.executor is None
        if not self.asked_for:
            self.workers = min(self.workers, workers)

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self.ask_to_stop()
        self.close()

    def ask_to_stop(self) -> None:
        """Let each process write the checkpoint of its stack and take no other; `close` waits for that."""
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGINT)

    def close(self) -> None:
        """Wait until what is under way has ended, and end the processes."""
        if self.executor is not None:
            self.executor.shutdown(cancel_futures=True)
            self.executor = None

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Call a function in a process. At most `workers` calls at a time, so that none waits in a queue."""
        if self.executor is None:
            context = multiprocessing.get_context("spawn")
            arguments = (self.threads, context.Barrier(self.workers), self.has_begun)
            self.executor = ProcessPoolExecutor(self.workers, context, start_worker, arguments)
        # Ctrl-C waits: a process that is started here would die of it before it can say what to do about it.
        with interrupt_blocked():
            future = self.executor.submit(function, *args)
            # The pool watches the processes it had at its last call: one that this call has started is watched from the
            # next on, and until then nobody would see it killed.
            with contextlib.suppress(BrokenProcessPool):
                self.executor.submit(int)
            return future

    def trial(self, stack: Sequence[Config]) -> float:
        """Return milliseconds of a step per network while all processes are at work on stacks like this."""
        futures = [self.submit(trial_step_ms, with_threads(stack, self.threads)) for _ in range(self.workers)]
        return statistics.mean(future.result() for future in futures) / self.workers / len(stack)

    def train(self, stacks: Sequence[Sequence[Config]], retries: int, follower: RecordFollower) -> str | None:
        """Train all stacks; return what went wrong beyond the runs' own failures, in one line.

        A process that is killed ends the pool: the others write their checkpoints, and a new pool goes on with their
        stacks (see StackQueue); with rerun=true, which takes up no checkpoint, these begin anew.
        """
        queue, in_vain = StackQueue(deque(stacks), retries), 0
        pending: dict[Future[dict[str, RunDict]], Sequence[Config]] = {}
        while queue.left or pending:
            while stack := queue.next_for(self.workers, len(pending)):
                there = with_threads(stack, self.threads)
                pending[self.submit(train_stack, there, queue.has_to_wait(stack))] = stack
            done, _ = wait(pending, POLL_S, FIRST_COMPLETED)
            broken = any(is_broken(future) for future in done)
            if broken:
                self.close()
                done = set(pending)
            follower.update()
            follower.show(pending.values())
            lost = [stack for future, stack in pending.items() if future in done and is_broken(future)]
            for future in done:
                stack = pending.pop(future)
                if not is_broken(future):
                    follower.add_results(runs := future.result())
                    queue.put_off_rest(stack, runs)
            in_vain = 0 if len(lost) < len(done) else in_vain + broken
            if broken and not self.has_begun.value:
                return "the processes ended before they began"
            if in_vain > MOST_IN_VAIN:
                return f"processes were killed {in_vain} times in a row; hardware.workers=1 leaves more memory"
            for stack in lost:
                queue.put_back(stack, follower.status)
        return None


def is_broken(future: "Future[Any]") -> bool:
    """Return whether a call was lost with the pool."""
    return future.done() and isinstance(future.exception(), BrokenProcessPool)


def with_threads(stack: Sequence[Config], threads: int) -> list[Config]:
    """Return the configurations with a number of threads, for the runs to set and the records to tell."""
    hardware = stack[0].hardware.model_copy(update={"threads": threads})
    return [config.model_copy(update={"hardware": hardware}) for config in stack]


class Worker:
    """A process of the pool, as it sees itself."""

    def __init__(self, all_workers: Barrier) -> None:
        self.all_workers, self.busy, self.stopped = all_workers, False, False

    def stop(self, number: int, _frame: Any) -> None:
        """Handle SIGINT outside of training, for which signals.kept_until_safe has another handler."""
        self.stopped = True
        if self.busy:
            raise Stopped(number)

    def train(self, stack: list[Config], wait: bool) -> dict[str, RunDict]:
        """Train one stack. After SIGINT the process stays, after SIGTERM it ends, both with the checkpoint written."""
        self.busy = True
        garbage.resume()
        try:
            return {} if self.stopped else train_quietly(Attempt(stack), wait)
        except Stopped as stop:
            self.stopped = True
            if stop.exit_code - 128 != signal.SIGINT:
                signal.raise_signal(stop.exit_code - 128)
            return {}
        finally:
            self.busy = False


workers_here: list[Worker] = []  # one, in a process of the pool: the functions that the pool calls find it here


def start_worker(threads: int, all_workers: Barrier, has_begun: Any) -> None:
    """Set up a process of the pool, first of all. Ctrl-C is for the parent, which then asks its workers to stop."""
    garbage.pause()
    worker = Worker(all_workers)
    workers_here.append(worker)
    leave_terminal()
    handle_interrupt(worker.stop)
    set_threads(threads)
    set_up()
    end_with_parent()
    has_begun.value = True


def train_stack(stack: list[Config], wait: bool) -> dict[str, RunDict]:
    """Train one stack in a process of the pool; wait: for runs of it that another sweep trains."""
    return workers_here[0].train(stack, wait)


def trial_step_ms(stack: list[Config]) -> float:
    """Return milliseconds of a step of a stack, measured in all processes of the pool at once."""
    all_workers = workers_here[0].all_workers
    try:
        return step_ms(stack, ready=lambda: wait_for_all(all_workers))
    except Exception:
        all_workers.abort()  # the others would wait START_S for this process
        raise


def wait_for_all(workers: Barrier) -> None:
    """Wait until all processes are there."""
    workers.wait(START_S)
