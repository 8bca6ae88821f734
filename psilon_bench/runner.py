"""From checked configurations to records: load, build, fit, evaluate, record. One network, or a stack of them."""

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from psilon_bench.checkpoint import Checkpoint
from psilon_bench.closed import closed_records
from psilon_bench.config import Config
from psilon_bench.device import set_tf32
from psilon_bench.display import Display
from psilon_bench.errors import StackFailed
from psilon_bench.finetune import FineTuned
from psilon_bench.interrupt import Stopped, kept_until_safe
from psilon_bench.metrics.network import curve_measures
from psilon_bench.models.baselines import Baseline
from psilon_bench.outcome import finish
from psilon_bench.precision import autocast_of
from psilon_bench.prepare import Prepared, build_optimizer, prepare, steps_elementwise
from psilon_bench.record import Record, check_writable, command_line
from psilon_bench.sender import Sender
from psilon_bench.tracking import check_server, tracking_uri
from psilon_bench.training.compiled import compile_if_asked
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Fit, Row
from psilon_bench.training.whole import WholeFit

AnyFit = Fit | FineTuned | WholeFit


def check_places(config: Config) -> None:
    """UsageError unless records can be written and MLflow answers. Once, at the start: an outage later stops no run."""
    check_writable(config.results_dir)
    if config.tracking.name == "mlflow":
        check_server(tracking_uri(config))


def run(
    configs: Sequence[Config],
    display: Display,
    sender: Sender | None = None,
    in_sweep: bool = False,
    records: Sequence[Record] = (),
) -> Sequence[Record]:
    """Train configurations that differ in stackable values alone as one stack; one record each, mirrored by `sender`.

    A stack that was stopped goes on from its checkpoint, in the folders it had; `records` of a try that failed are used
    again. A member that diverges is recorded as failed. SIGINT, SIGTERM and SIGUSR2 leave a checkpoint and the records
    as killed, with the history so far, and are raised again; any other exception records them as failed, with its
    traceback in the folders, and is raised as StackFailed.
    """
    if configs[0].hardware.threads is not None:
        torch.set_num_threads(configs[0].hardware.threads)
    set_tf32(configs[0].hardware)
    members = [prepare(config) for config in configs]
    fit = build(members)
    if sender is not None:
        open_sender(sender, configs[0])
    checkpoint = Checkpoint.of(configs)
    with checkpoint.mine(wait=in_sweep) as mine:
        if in_sweep and not configs[0].rerun and (closed := closed_records(configs)):
            return closed  # by the same sweep in another process
        found = checkpoint.load() if mine and not configs[0].rerun else None
        if found:
            records = resume(fit, *found)
        elif records:
            records = [Record.reopen(record.folder, last_epoch=0) for record in records]
        else:
            records = [Record(member.config, about(member, fit.precision, in_sweep)) for member in members]
        if sender is not None:
            for record in records:
                sender.follow(record.folder)
        try:
            with kept_until_safe() as safe_point:
                train(fit, configs, records, checkpoint if mine else None, display, safe_point)
                if isinstance(fit, Fit):
                    finish(fit, members, records)
                else:
                    fit.finish(records)
                if mine:
                    checkpoint.remove()
        except KeyboardInterrupt as stop:
            close_unfinished(records, stop)
            raise
        except Exception as error:
            close_unfinished(records, error)
            raise StackFailed(error, records) from error
    return records


def open_sender(sender: Sender, config: Config) -> None:
    """Tell the sender where to, the first time; it also sends what earlier runs of the same folder left unsent."""
    sender.open(tracking_uri(config), config.tracking.experiment, config.results_dir, config.name)


def resume(fit: AnyFit, state: dict[str, Any], folders: Sequence[Path]) -> list[Record]:
    """Put the trainer where the checkpoint was taken, and open its records again."""
    fit.load_state(state)
    return [
        Record.reopen(folder, member.last_row.get("epoch", 0))
        for folder, member in zip(folders, fit.members, strict=True)
    ]


def train(
    fit: AnyFit,
    configs: Sequence[Config],
    records: Sequence[Record],
    checkpoint: Checkpoint | None,
    display: Display,
    safe_point: Callable[[], None],
) -> None:
    """Run the trainer; write checkpoints every trainer.checkpoint_every epochs and when a signal asks for the end."""
    every = configs[0].trainer.checkpoint_every

    def on_row(index: int, row: Row) -> None:
        if not records[index].closed:
            records[index].add_row(row)
        display.row(index, row)

    def save() -> None:
        if checkpoint is not None:
            fingerprints = [config.fingerprint() for config in configs]
            checkpoint.save(fit.state(), fingerprints, [record.folder for record in records])

    def on_epoch(epoch: int) -> None:
        display.epoch(epoch)
        if every is not None and epoch % every == 0:
            save()

    own = fit.fit if isinstance(fit, FineTuned) else fit
    if isinstance(own, Fit) and (why := compile_if_asked(own, configs[0].hardware)):
        display.say(f"note: hardware.compile=true did not work, the run is not compiled: {why}", soft_wrap=True)
    with display.training(configs):
        try:
            fit.run(on_row, on_epoch, safe_point)
        except Stopped as stop:
            if stop.safe:
                save()
            raise


def close_unfinished(records: Sequence[Record], error: BaseException) -> None:
    """killed for a signal; failed, with the traceback in the folder, for anything else."""
    killed = isinstance(error, KeyboardInterrupt)
    for record in records:
        if not record.closed:
            if not killed:
                record.write("error.txt", traceback.format_exc())
            record.finish("killed" if killed else "failed", reason=f"{type(error).__name__}: {error}".rstrip(": "))


def build(members: Sequence[Prepared]) -> AnyFit:
    """What trains these networks, or fits this baseline."""
    config = members[0].config
    if config.model.is_baseline:
        (member,) = members
        return WholeFit(member)
    return FineTuned(members, build_fit) if config.trainer.prune_then_finetune else build_fit(members)


def build_fit(members: Sequence[Prepared]) -> Fit:
    """The trainer of a stack, with the optimizer, schedule and precision of the first member."""
    return fit_under(members, autocast_of(members, fit_under))


def fit_under(members: Sequence[Prepared], autocast: torch.dtype | None) -> Fit:
    """The trainer of a stack whose steps call its networks under this type."""
    config = members[0].config  # differs from the others in stackable values alone, none of which is read here
    if len(members) > 1 and not steps_elementwise(config, members[0].model):
        raise ValueError(f"optimizer={config.optimizer.name} mixes networks that share a tensor: train them one by one")
    return Fit(
        stack=Stack([member.model for member in members]),
        tasks=[member.task for member in members],
        regularizers=[member.config.reg.build() for member in members],
        lams=[member.config.reg.lam for member in members],
        seeds=[member.config.seed for member in members],
        settings=config.trainer,
        optimizer=partial(build_optimizer, config),
        scheduler=config.scheduler.build,
        autocast=autocast,
        pruner=config.pruner.build(),
        measures=partial(curve_measures, unit_threshold=config.metrics.unit_threshold),
    )


def about(member: Prepared, precision: str, in_sweep: bool) -> dict[str, Any]:
    """What run.json says of the data, the place and the command."""
    task = member.task
    return {
        "task": {
            "name": task.name,
            "kind": task.kind,
            "rows": {split: len(getattr(task, split)) for split in ("train", "val", "test")},
            "num_features": task.num_features,
            "num_outputs": task.num_outputs,
            "input_shape": task.input_shape,
            "target": {"name": task.target_name, "center": task.target_center, "scale": task.target_scale},
            "classes": task.classes,
            "source": task.source,
            "licence": task.licence,
            "checksum": task.checksum,
            "notes": [*task.notes, *member.config.reg.build().notes(member.model)],
        },
        "device": "cpu" if isinstance(member.model, Baseline) else str(next(member.model.parameters()).device),
        "precision": precision,
        "command": command_line(),
        "in_sweep": in_sweep,
    }
