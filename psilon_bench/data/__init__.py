"""Sources of data: each module's function `load` returns a Task; the `_target_` of conf/dataset/*.yaml names it."""
