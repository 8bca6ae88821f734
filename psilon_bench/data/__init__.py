"""Data sources: each module's `load` returns a Task; the `_target_` of conf/dataset/*.yaml names it."""
