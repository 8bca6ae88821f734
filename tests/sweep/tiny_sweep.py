"""Overrides that make the runs of a sweep last some milliseconds."""

TINY = (
    "model.hidden=4",
    "model.depth=2",
    "trainer.epochs=4",
    "trainer.eval_every=2",
    "hardware.threads=1",
    "hardware.device=cpu",
)
STACKED = [
    "model.hidden=4",
    "model.depth=2",
    "trainer.epochs=4",
    "trainer.eval_every=2",
    "tracking=none",
    "hardware.device=cpu",
    "hardware.plan=stacked",
    "hardware.precision=float64",
]
