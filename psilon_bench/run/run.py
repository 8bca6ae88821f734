"""From checked configurations to records: load, build, train, evaluate, record. One network, or a stack of them."""

import contextlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from psilon_bench.config.schema import Config
from psilon_bench.errors import RecordsFailed, StackFailed, UsageError, with_kind
from psilon_bench.machine.arithmetic import set_tf32, set_threads
from psilon_bench.machine.signals import Stopped, kept_until_safe
from psilon_bench.models.baselines import Baseline
from psilon_bench.models.offers import unclaimed
from psilon_bench.records import places
from psilon_bench.records.checkpoint import Checkpoint, Found, set_aside_outdated
from psilon_bench.records.record import Record, check_writable, command_line, versions
from psilon_bench.records.run_json import read_run
from psilon_bench.records.run_locks import locked_runs
from psilon_bench.run.checks import prepare
from psilon_bench.run.closing import close, close_unfinished
from psilon_bench.run.display import Display
from psilon_bench.tracking.sender import Sender
from psilon_bench.tracking.server import check_server, tracked_at, tracking_uri
from psilon_bench.training.engine import Engine, Row
from psilon_bench.training.engines import build_engine
from psilon_bench.training.member import Member
from psilon_bench.training.race import Race


def check_places(config: Config) -> None:
    """Raise UsageError unless records can be written and MLflow answers; an outage later stops no run."""
    check_writable(config.results_dir)
    if (uri := tracked_at(config)) is not None:
        check_server(uri)
    elif (name := config.tracking.registered_name) is not None:
        raise UsageError(f"tracking.register={name} is a name in MLflow's registry, but tracking=none. Leave one out.")


def run_alone(config: Config, display: Display, sender: Sender | None = None) -> Record:
    """Train one configuration that belongs to no sweep. Where another process trains the same, keep no checkpoint."""
    member = ready(config)
    with locked_runs([member.config], wait=False, say=display.note) as mine:
        (record,) = run_members([member], display, sender, mine=bool(mine))
    return record


def run(
    configs: Sequence[Config],
    display: Display,
    sender: Sender | None = None,
    records: Sequence[Record] = (),
    race: Race | None = None,
) -> Sequence[Record]:
    """Train configurations of a sweep; see run_members. Without a race they differ in stackable values alone."""
    members = [ready(config) for config in configs]
    return run_members(members, display, sender, in_sweep=True, records=records, race=race)


def ready(config: Config) -> Member:
    """Return the configuration with its data and its network, after setting up the process for it."""
    set_threads(config.hardware.threads)
    set_tf32(config.hardware)
    return prepare(config)


def run_members(
    members: Sequence[Member],
    display: Display,
    sender: Sender | None = None,
    in_sweep: bool = False,
    records: Sequence[Record] = (),
    mine: bool = True,
    race: Race | None = None,
) -> Sequence[Record]:
    """Train a stack, or a race; one record each, mirrored by `sender`.

    A stack that was stopped goes on from its checkpoint, in the folders it had; `records` of a try that failed are used
    again. A member that diverges is recorded as failed. SIGINT, SIGTERM and SIGUSR2 leave a checkpoint and the records
    as killed, with the history so far, and are raised again; any other exception records them as failed, with its
    traceback in the folders, and is raised as StackFailed. mine: whether no other process trains these runs; one that
    is not alone keeps no checkpoint.
    """
    configs = [member.config for member in members]
    engine = build_engine(members, race)
    if sender is not None:
        open_sender(sender, configs[0])
    checkpoint = Checkpoint.of(configs, race.heats if race else ()) if mine else None
    found = find(checkpoint, display) if checkpoint is not None and not configs[0].rerun else None
    if checkpoint is not None:
        keep_room(checkpoint, engine)
    if found and checkpoint is not None and (problem := unfit(engine, found)):
        checkpoint.set_aside(f"is of no use ({problem})", display.note)
        members, found = [ready(config) for config in configs], None
        engine = build_engine(members, race)
    if found:
        records = reopen(found, members, engine, in_sweep)
    elif records:
        records = [Record.reopen(record.folder) for record in records]
    else:
        records = new_records(members, engine, in_sweep)
    if sender is not None:
        for record in records:
            sender.follow(record.folder)
    train_and_close(engine, members, records, checkpoint, display)
    return records


def open_sender(sender: Sender, config: Config) -> None:
    """Tell the sender where to, the first time; it also sends what earlier runs of the same folder left unsent."""
    sender.open(tracking_uri(config), config.tracking.experiment, config.results_dir, config.name)


def new_records(members: Sequence[Member], engine: Engine, in_sweep: bool) -> list[Record]:
    """Return a fresh record of each member."""
    try:
        return [Record(member.config, about(member, engine, in_sweep)) for member in members]
    except OSError as error:
        raise RecordsFailed(f"{error.filename} cannot be written ({error.strerror}). Make room") from error


def unfit(engine: Engine, found: Found) -> str | None:
    """Put the engine where the checkpoint was taken; return what is wrong where it cannot go on from there."""
    try:
        engine.load_state(found.fit)
    except Exception as error:  # of another version of torch, or of a state that lacks something
        return with_kind(error)[:160]
    return None


def find(checkpoint: Checkpoint, display: Display) -> Found | None:
    """Return what the checkpoint of a stack holds; what is damaged, or of other data or code, is set aside and said."""
    if not checkpoint.exists():
        set_aside_outdated(checkpoint.configs, display.note)
    return checkpoint.load(display.note)


def reopen(found: Found, members: Sequence[Member], engine: Engine, in_sweep: bool) -> list[Record]:
    """Return the records of a checkpoint with their histories up to it; where one is gone, a new one."""
    records = []
    for member, folder, rows in zip(members, found.folders, found.rows, strict=True):
        if read_run(folder) is None or not (folder / places.CONFIG).exists():
            folder = new_records([member], engine, in_sweep)[0].folder
        records.append(Record.reopen(folder, rows))
    return records


def train_and_close(
    engine: Engine,
    members: Sequence[Member],
    records: Sequence[Record],
    checkpoint: Checkpoint | None,
    display: Display,
) -> None:
    """Train and close the records. Whatever ends it early, the records say so and what can go on is in a checkpoint."""
    try:
        with kept_until_safe() as safe_point:
            train(engine, [member.config for member in members], records, checkpoint, display, safe_point)
            trained = engine.state()
            try:
                with display.testing(len(members), len(members[0].task.test)) as tested:
                    close(records, engine, tested)
            except OSError as error:
                raise RecordsFailed(kept(error, trained, records, checkpoint), records) from error
            if checkpoint is not None:
                checkpoint.remove()
    except KeyboardInterrupt as stop:
        close_unfinished(records, stop)
        raise
    except RecordsFailed as failure:
        close_unfinished(records, failure)
        raise
    except Exception as error:
        close_unfinished(records, error)
        raise StackFailed(error, records, engine.at_work) from error
    finally:
        if checkpoint is not None:
            checkpoint.release_room()


def kept(error: OSError, state: dict[str, Any], records: Sequence[Record], checkpoint: Checkpoint | None) -> str:
    """Save the trained stack where it can be saved; say what could not be written, where that is, and what to do."""
    said = f"{error.filename or records[0].folder} cannot be written ({error.strerror or error})"
    if checkpoint is None or not state:
        return f"{said}. Make room, and give the same command again: it trains anew"
    try:
        place = checkpoint.save(state, [record.folder for record in records], [record.rows for record in records])
    except OSError as second:
        return f"{said}, nor can a checkpoint ({second}). What was trained is lost"
    return f"{said}. What was trained is in a checkpoint in {place}: make room, and give the same command again"


def train(
    engine: Engine,
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
            checkpoint.save(engine.state(), [record.folder for record in records], [record.rows for record in records])

    def on_epoch(epoch: int) -> None:
        display.epoch(epoch)
        if every is not None and epoch % every == 0:
            with contextlib.suppress(OSError):  # the next one may find room; training goes on
                save()

    if told := engine.tune(configs[0].hardware):
        display.note(told)
    with display.training(configs, engine.epochs):
        try:
            engine.run(on_row, on_epoch, safe_point)
        except Stopped as stop:
            if stop.safe:
                save()
            raise


def keep_room(checkpoint: Checkpoint, engine: Engine) -> None:
    """Raise RecordsFailed, before training, where the disk has no room for what is to be kept of the run."""
    try:
        checkpoint.keep_room(engine.state())
    except OSError as error:
        checkpoint.release_room()
        raise RecordsFailed(
            f"{checkpoint.folder.parent} has no room for what the run is to keep ({error.strerror or error}). "
            "Make room, or set results_dir=<another folder>"
        ) from error


def about(member: Member, engine: Engine, in_sweep: bool) -> dict[str, Any]:
    """Return what run.json says of the data, the place, the command, and the package of a baseline."""
    task, model = member.task, member.model
    packages, notes = (model.packages, model.notes()) if isinstance(model, Baseline) else ({}, [])
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
            **({} if task.val.weights is None else {"val_weight": task.val.weights.sum().item()}),
            "notes": [*task.notes, *member.config.reg.build().notes(model), *unclaimed(model), *notes],
        },
        "versions": versions() | {package: version(package) for package in packages},
        "device": engine.device,
        "precision": engine.precision,
        "command": command_line(),
        "in_sweep": in_sweep,
    }
