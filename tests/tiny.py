"""Overrides that make a real run of a few milliseconds."""

TINY = ("trainer.epochs=2", "trainer.eval_every=1", "model.hidden=6", "model.depth=2", "tracking=none")
