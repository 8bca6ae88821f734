"""Overrides that make the runs of a sweep last some milliseconds."""

TINY = (
    "model.hidden=4",
    "model.depth=2",
    "trainer.epochs=4",
    "trainer.eval_every=2",
    "hardware.threads=1",
    "hardware.device=cpu",
)

# the same of sweeps within the process of the test, which are to be equal to 1e-12
IN_PROCESS = (
    "model.hidden=4",
    "model.depth=2",
    "trainer.epochs=4",
    "trainer.eval_every=2",
    "tracking=none",
    "hardware.device=cpu",
    "hardware.plan=stacked",
    "hardware.precision=float64",
)
