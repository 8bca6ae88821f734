"""MLflow as a view of the local records: made from their folders, in batches, at any time."""
